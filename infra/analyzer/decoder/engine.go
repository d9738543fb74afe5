package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"codeberg.org/gruf/go-ffmpreg/embed"
	"codeberg.org/gruf/go-ffmpreg/wasm"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"
)

// pageSize is the size of a WebAssembly page, in bytes.
const pageSize = 64 << 10

// engine is the program ffmpeg, compiled and ready to be instantiated.
type engine struct {
	runtime wazero.Runtime
	module  wazero.CompiledModule
}

// newEngine compiles ffmpeg, or loads the code that an earlier process compiled into the folder dir. If dir cannot be
// used, newEngine fails if fill is set, and otherwise compiles ffmpeg without dir.
func newEngine(ctx context.Context, dir string, memory int64, fill bool) (*engine, error) {
	config := wazero.NewRuntimeConfigCompiler().WithMemoryLimitPages(uint32(min(max(memory/pageSize, 1), 65536)))
	cache, err := wazero.NewCompilationCacheWithDir(dir)
	if err == nil {
		e, failure := compile(ctx, config.WithCompilationCache(cache))
		if failure == nil {
			embed.Free()
			debug.FreeOSMemory() // compiling leaves much garbage
			return e, nil
		}
		err = failure
	}
	if fill {
		return nil, fmt.Errorf("fill the cache folder: %w", err)
	}
	e, failure := compile(ctx, config)
	if failure != nil {
		return nil, errors.Join(err, failure)
	}
	embed.Free()
	debug.FreeOSMemory()
	return e, nil
}

func compile(ctx context.Context, config wazero.RuntimeConfig) (*engine, error) {
	rt, err := wasm.NewRuntime(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("start the WebAssembly runtime: %w", err)
	}
	module, err := rt.CompileModule(experimental.WithCompilationWorkers(ctx, runtime.GOMAXPROCS(0)), embed.B())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("compile ffmpeg: %w", err), rt.Close(ctx))
	}
	return &engine{runtime: rt, module: module}, nil
}

// ffmpeg runs the program ffmpeg on the file at path, in a new instance. The error is not nil if the instance crashed.
func (e *engine) ffmpeg(ctx context.Context, path string, args []string, stdout, stderr io.Writer) (exit uint32, err error) {
	exit, err = wasm.Run(ctx, e.runtime, e.module, wasm.Args{
		Name: "ffmpeg", Args: args, Stdin: nothing{}, Stdout: stdout, Stderr: stderr,
		Config: func(m wazero.ModuleConfig) wazero.ModuleConfig {
			return m.WithFSConfig(wazero.NewFSConfig().WithFSMount(oneFile{path}, "/in"))
		},
	})
	if err != nil {
		return exit, fmt.Errorf("run ffmpeg: %w", err)
	}
	return exit, nil
}

// nothing is an io.Reader without content: ffmpeg's standard input.
type nothing struct{}

// Read implements io.Reader.
func (nothing) Read([]byte) (int, error) { return 0, io.EOF }

// inside is the path under which ffmpeg sees the recording in the sandbox.
const inside = "/in/recording"

// oneFile is a read-only file system with a single file.
type oneFile struct{ path string }

// Open implements fs.FS.
func (o oneFile) Open(name string) (fs.File, error) {
	switch name {
	case ".":
		return root{}, nil
	case "recording":
		return os.Open(o.path)
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// root is the root folder of oneFile. It cannot be listed, since ffmpeg lists no folders.
type root struct{}

// Stat implements fs.File.
func (r root) Stat() (fs.FileInfo, error) { return r, nil }

// Read implements fs.File.
func (root) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: ".", Err: fs.ErrInvalid}
}

// Close implements fs.File.
func (root) Close() error { return nil }

// Name returns the name of the folder. The methods from Name to Sys implement fs.FileInfo.
func (root) Name() string { return "." }

// Size returns 0.
func (root) Size() int64 { return 0 }

// Mode returns the mode of a folder that everybody may read.
func (root) Mode() fs.FileMode { return fs.ModeDir | 0o555 }

// ModTime returns the zero time.
func (root) ModTime() time.Time { return time.Time{} }

// IsDir returns true.
func (root) IsDir() bool { return true }

// Sys returns nil.
func (root) Sys() any { return nil }

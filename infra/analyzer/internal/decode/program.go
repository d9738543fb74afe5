package decode

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// Found contains the path of a decoder program that can be run, and the folder of its compiled ffmpeg.
type Found struct{ Path, Cache string }

// Program finds the decoder program. If the settings do not name a program, the program is built from its source with
// the go command, into the cache folder. It is built once for each version of the source and of Go, even if several
// processes need it at the same time.
type Program struct {
	path, cache string // the paths in the settings

	mu    sync.Mutex // locked while the program is built
	found *Found
}

// NewProgram returns a Program. path and cache are settings; either may be empty.
func NewProgram(path, cache string) *Program { return &Program{path: path, cache: cache} }

// Find returns the decoder program. If the settings do not name a program, Find builds the program and compiles its
// ffmpeg, unless this has been done before.
func (p *Program) Find(ctx context.Context) (Found, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found != nil {
		return *p.found, nil
	}
	cache := p.cache
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return Found{}, fmt.Errorf("find the decoder's cache folder: %w", err)
		}
		cache = filepath.Join(user, "sori", "decoder")
	}
	f := Found{Path: p.path, Cache: cache}
	if p.path == "" {
		path, err := build(ctx, cache)
		if err != nil {
			return Found{}, err
		}
		f.Path = path
	}
	p.found = &f
	return f, nil
}

// build builds the decoder program and compiles its ffmpeg, unless the program exists already, and returns its path.
func build(ctx context.Context, cache string) (string, error) {
	source, err := moduleDir(ctx)
	if err != nil {
		return "", err
	}
	version, err := fingerprint(source)
	if err != nil {
		return "", err
	}
	program := filepath.Join(cache, "decoder-"+version+exeSuffix())
	if runnable(program) {
		return program, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("make the decoder's cache folder: %w", err)
	}
	unlock, err := lock(ctx, filepath.Join(cache, "lock"))
	if err != nil {
		return "", fmt.Errorf("lock the decoder's cache folder: %w", err)
	}
	defer unlock()
	if runnable(program) {
		return program, nil // another process has built the program in the meantime
	}
	made, err := os.MkdirTemp(cache, "build-")
	if err != nil {
		return "", fmt.Errorf("build the decoder: %w", err)
	}
	defer os.RemoveAll(made)
	built := filepath.Join(made, "decoder"+exeSuffix())
	if err := command(ctx, source, "go", "build", "-trimpath", "-o", built, "."); err != nil {
		return "", fmt.Errorf("build the decoder: %w", err)
	}
	if err := command(ctx, source, built, "-compile", "-cache", cache); err != nil {
		return "", fmt.Errorf("compile ffmpeg: %w", err)
	}
	if err := os.Rename(built, program); err != nil && !runnable(program) {
		return "", fmt.Errorf("keep the decoder: %w", err)
	}
	return program, nil
}

// moduleDir returns the folder of the decoder's source. The current folder must be in the Go workspace.
func moduleDir(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "sori.internal/infra/analyzer/decoder").Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return "", fmt.Errorf("find the decoder's source (DECODER names a program): %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// fingerprint returns a hash that identifies the version of the decoder: the hash of its source files, of the shared
// packages that it imports, and of the version of Go.
func fingerprint(source string) (string, error) {
	shared := filepath.Join(source, "..", "..", "..", "shared")
	var files []string
	for _, pattern := range []string{
		filepath.Join(source, "*.go"), filepath.Join(source, "go.*"), filepath.Join(shared, "decoding", "*.go"),
		filepath.Join(shared, "processlimit", "*.go"), filepath.Join(shared, "wait", "*.go"),
	} {
		some, err := filepath.Glob(pattern)
		if err != nil {
			return "", fmt.Errorf("read the decoder's source: %w", err)
		}
		files = append(files, some...)
	}
	slices.Sort(files)
	sum := sha256.New()
	fmt.Fprintln(sum, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("read the decoder's source: %w", err)
		}
		fmt.Fprintln(sum, filepath.Base(file), len(text))
		_, _ = sum.Write(text) // a hash never returns an error
	}
	return hex.EncodeToString(sum.Sum(nil)[:8]), nil
}

func runnable(path string) bool {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err != nil {
		return false
	}
	return info.Mode().IsRegular()
}

func exeSuffix() string {
	if runtime.GOOS == "windows" {
		return ".exe"
	}
	return ""
}

// command runs a program in the folder dir. An error includes the program's output.
func command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

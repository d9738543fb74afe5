// Command decoder turns recordings into samples. It reads requests on its standard input and answers on its standard output,
// as package decoding describes; the analyzer runs it and talks to it through pipes.
//
// It links ffmpeg, compiled to WebAssembly, and is therefore under the GPL, version 3 (LICENSE). Nothing else links it.
//
// It guarantees: a recording is parsed inside the WebAssembly sandbox, which sees that one file, read-only, and neither the
// network nor the environment nor any other file; every file gets a new instance, so that none can spoil the next; the
// instance's memory and the processor time of a file are bounded, and so is, on Linux, the memory of the process. When its
// standard input ends, the process ends, whatever it is doing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// defaultMemory bounds what a file's instance may allocate, in bytes. 2 h of AAC need 40 MB, a large cover picture more.
const defaultMemory = 256 << 20

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "decoder:", err)
		os.Exit(1)
	}
}

// run reads the flags and serves until the requests end.
func run(ctx context.Context, args []string, requests io.Reader, answers io.Writer) error {
	flags := flag.NewFlagSet("decoder", flag.ContinueOnError)
	cache := flags.String("cache", "", "the `folder` that keeps the compiled ffmpeg (default: sori/decoder in the user's cache folder)")
	memory := flags.Int64("memory", defaultMemory, "`bytes` that the decoding of one file may allocate")
	compile := flags.Bool("compile", false, "compile ffmpeg into the cache folder, and end")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir := *cache
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("find the cache folder: %w", err)
		}
		dir = filepath.Join(user, "sori", "decoder")
	}
	engine, err := newEngine(ctx, dir, *memory, *compile)
	if err != nil || *compile {
		return err
	}
	if err := limitProcess(*memory); err != nil {
		return fmt.Errorf("limit the process: %w", err)
	}
	if err := serve(ctx, engine, requests, answers); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// Command decoder decodes recordings to samples. It reads requests from its standard input and writes responses to its
// standard output, as package decoding describes. The analyzer starts it and communicates with it through pipes.
//
// It links ffmpeg, compiled to WebAssembly, and is therefore under the GPL, version 3 (LICENSE). Nothing else links
// ffmpeg.
//
// It guarantees:
//
//  1. A recording is parsed inside the WebAssembly sandbox, which can read only the file of the recording. It can
//     access neither the network nor the environment nor any other file.
//  2. Every file gets a new instance, so that no file can affect the next one.
//  3. The memory of the instance and the processor time of a file are limited, and on Linux also the memory of the
//     process.
//  4. When its standard input ends, the process ends, even while it is decoding.
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

// defaultMemory is the default limit for the memory of an instance of ffmpeg, in bytes. Decoding 2 h of AAC needs 40
// MB, a file with a large cover picture more.
const defaultMemory = 256 << 20

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "decoder:", err)
		os.Exit(1)
	}
}

// run reads the flags, and then answers requests until there are no more.
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

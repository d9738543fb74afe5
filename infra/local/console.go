package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"sori.internal/infra/internal/console"
)

// consoleSetting is where the gateway finds the console. Where the caller says it,
// nothing is built.
const consoleSetting = "CONSOLE_DIR"

// consoleDir is the folder of the built console.
func consoleDir(dir string) string {
	if given, ok := os.LookupEnv(consoleSetting); ok {
		return given
	}
	return filepath.Join(dir, "console")
}

// buildConsole builds the console where it is missing or stale, beside all else:
// the gateway shows it as soon as it is there. Without it everything works but
// the page at /, so that nothing fails for its sake.
func buildConsole(w io.Writer, dir string) func(context.Context) error {
	return func(ctx context.Context) error {
		if _, ok := os.LookupEnv(consoleSetting); ok {
			return nil
		}
		if why := missing(freshConsole(ctx, consoleDir(dir))); why != "" && ctx.Err() == nil {
			fmt.Fprintln(w, "The console is not built: "+why)
		}
		return nil
	}
}

// missing says in words why there is no console; nothing where there is one.
func missing(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, console.ErrNoNPM):
		return "install npm (Debian and Ubuntu: apt-get install npm), then start again."
	default:
		return err.Error()
	}
}

func freshConsole(ctx context.Context, dir string) error {
	sources, err := console.Sources(ctx)
	if err != nil {
		return err
	}
	if fresh, err := console.Fresh(sources, dir); err != nil || fresh {
		return err
	}
	return console.Build(ctx, sources, dir)
}

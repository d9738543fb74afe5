package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"sori.internal/infra/internal/harness"
)

// consoleSetting is the setting with the folder from which the gateway serves the
// console. If the caller's environment contains it, the console is not built.
const consoleSetting = "CONSOLE_DIR"

// consoleDir returns the folder of the built console.
func consoleDir(dir string) string {
	if given, ok := os.LookupEnv(consoleSetting); ok {
		return given
	}
	return filepath.Join(dir, "console")
}

// buildConsole returns a component that builds the console if it is missing or stale,
// while the services already run: the gateway serves it as soon as it is built. A failed
// build is printed and is no error, since everything else works without the page at /.
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

// missing returns why the console is not built, for the user, or "" if err is nil.
func missing(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, harness.ErrNoNPM):
		return "install npm (Debian and Ubuntu: apt-get install npm), then start again."
	default:
		return err.Error()
	}
}

func freshConsole(ctx context.Context, dir string) error {
	sources, err := harness.ConsoleSources(ctx)
	if err != nil {
		return err
	}
	return harness.BuildConsole(ctx, sources, dir)
}

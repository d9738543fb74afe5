// Command local runs all of Sori on one machine, with nothing installed but Go:
//
//	go run ./infra/local [-dir .sori] [-port 8000]   everything, until Ctrl-C
//	go run ./infra/local -auth                       the same, with users who sign in
//	go run ./infra/local deps [-dir .sori]           the dependencies, the analysis server, and files with the services' settings
//	go run ./infra/local test [go test flags]        the tests of every module
//	go run ./infra/local tail [-dir .sori] [subject] print events as they are published
//
// The console is built if it is missing or stale and npm is installed. Without npm
// everything runs except the page at the gateway's /.
//
// NATS, the S3 server and PostgreSQL run as child processes. The services and the
// reference analysis server run in this process, through the same app.Run as their
// binaries. All listen only on the loopback address. Data stays in the state folder. If
// TARGET_SERVER_URL is set, the analysis server at that URL is used instead of the reference
// one. The last line that a command writes to stderr is the reason why it ended.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"

	analyzerapp "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/command"
	"sori.internal/infra/internal/stack/parts"
)

func main() {
	for _, runChild := range []func() (bool, int){parts.RunChild, analyzerapp.RunChild} {
		if ran, code := runChild(); ran {
			os.Exit(code)
		}
	}
	os.Exit(command.Main(func(ctx context.Context, args []string) int {
		err := run(ctx, args)
		if line := ending(ctx, err); line != "" {
			fmt.Fprintln(os.Stderr, line)
		}
		return exitCode(err)
	}))
}

// grammar describes the commands and their arguments.
type grammar struct {
	options
	Run  runCommand  `cmd:"" default:"withargs" help:"run everything, until Ctrl-C"`
	Deps depsCommand `cmd:"" help:"run only what the four services need: the dependencies and the analysis server; write the settings of the services into files"`
	Test testCommand `cmd:"" passthrough:"" help:"run the tests of every module"`
	Tail tailCommand `cmd:"" help:"show events as they are published"`
}

func run(ctx context.Context, args []string) error {
	var g grammar
	parsed, err := command.Parse("local", &g, args, os.Stderr, kong.BindTo(ctx, (*context.Context)(nil)))
	if err != nil {
		return err
	}
	if g.Dir, err = filepath.Abs(g.Dir); err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	return parsed.Run(g.options)
}

// ending returns one line with the reason why the command ended, or "" if it ended by itself without an error.
func ending(ctx context.Context, err error) string {
	var causes []string
	if ctx.Err() != nil {
		causes = append(causes, "stopped: "+context.Cause(ctx).Error())
	}
	if err != nil && !errors.Is(err, command.ErrHelp) {
		causes = append(causes, strings.Split(err.Error(), "\n")...)
	}
	if len(causes) == 0 {
		return ""
	}
	return "sori: " + strings.Join(causes, "; ")
}

// exitCode returns the exit code of a child process that has failed, 1 for any other error, and 0 without an error.
func exitCode(err error) int {
	if err == nil || errors.Is(err, command.ErrHelp) {
		return 0
	}
	if child, ok := errors.AsType[*exec.ExitError](err); ok && child.ExitCode() > 0 {
		return child.ExitCode()
	}
	return 1
}

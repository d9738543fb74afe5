// Command local runs all of Sori on one machine, with nothing installed but Go:
//
//	go run ./infra/local [-dir .sori] [-port 8000]   everything, until Ctrl-C
//	go run ./infra/local deps [-dir .sori]           what the four services need, and their settings
//	go run ./infra/local test [go test flags]        the tests of every module
//	go run ./infra/local tail [-dir .sori] [subject] what passes on the bus, readable
//
// The console is built where it is missing or stale and npm is there; without npm
// everything runs but the page at the gateway's /.
//
// NATS runs in this process, the S3 server, PostgreSQL and nothing else beside
// it; the services run through the same app.Run as their binaries. All listen on
// the loopback address alone. Data stays in the state folder. TARGET_SERVER_URL in the
// environment takes the place of the reference analysis server. What ended a command
// is its last line on the standard error output.
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

	"sori.internal/infra/internal/command"
	"sori.internal/infra/internal/stack/parts"
)

func main() {
	if ran, code := parts.RunChild(); ran {
		os.Exit(code)
	}
	os.Exit(command.Main(func(ctx context.Context, args []string) int {
		err := run(ctx, args)
		if line := ending(ctx, err); line != "" {
			fmt.Fprintln(os.Stderr, line)
		}
		return exitCode(err)
	}))
}

// grammar is the commands with their arguments.
type grammar struct {
	options
	Run  runCommand  `cmd:"" default:"1" help:"run everything, until Ctrl-C"`
	Deps depsCommand `cmd:"" help:"run what the four services need, and write their settings into files"`
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

// ending says in one line what ended the command; nothing where it came to its own
// end.
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

// exitCode passes the code of a child on; any other failure is 1.
func exitCode(err error) int {
	if err == nil || errors.Is(err, command.ErrHelp) {
		return 0
	}
	if child, ok := errors.AsType[*exec.ExitError](err); ok && child.ExitCode() > 0 {
		return child.ExitCode()
	}
	return 1
}

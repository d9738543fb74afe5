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
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"sori.internal/infra/internal/stack/parts"
)

func main() {
	if ran, code := parts.RunChild(); ran {
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends at once
	err := command(ctx, os.Args[1:])
	if line := ending(ctx, err); line != "" {
		fmt.Fprintln(os.Stderr, line)
	}
	os.Exit(exitCode(err))
}

func command(ctx context.Context, args []string) error {
	name := ""
	if len(args) > 0 && len(args[0]) > 0 && args[0][0] != '-' {
		name, args = args[0], args[1:]
	}
	switch name {
	case "":
		return runAll(ctx, args)
	case "deps":
		return runDeps(ctx, args)
	case "test":
		return runTests(ctx, args)
	case "tail":
		return runTail(ctx, args)
	default:
		return fmt.Errorf("unknown command %q: there are deps, test and tail, and none at all runs everything", name)
	}
}

// ending says in one line what ended the command; nothing where it came to its own
// end.
func ending(ctx context.Context, err error) string {
	var causes []string
	if ctx.Err() != nil {
		causes = append(causes, "stopped: "+context.Cause(ctx).Error())
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		causes = append(causes, strings.Split(err.Error(), "\n")...)
	}
	if len(causes) == 0 {
		return ""
	}
	return "sori: " + strings.Join(causes, "; ")
}

// exitCode passes the code of a child on; any other failure is 1.
func exitCode(err error) int {
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if child, ok := errors.AsType[*exec.ExitError](err); ok && child.ExitCode() > 0 {
		return child.ExitCode()
	}
	return 1
}

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
// the loopback address alone. Data stays in the state folder.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"sori.internal/infra/internal/stack"
)

func main() {
	if ran, code := stack.RunChild(); ran {
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends at once
	os.Exit(exitCode(command(ctx, os.Args[1:])))
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

// exitCode passes the code of a child on; any other failure is told and is 1.
func exitCode(err error) int {
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if child, ok := errors.AsType[*exec.ExitError](err); ok && child.ExitCode() > 0 {
		return child.ExitCode()
	}
	fmt.Fprintln(os.Stderr, "sori:", err)
	return 1
}

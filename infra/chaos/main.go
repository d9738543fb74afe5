// Command chaos proves that Sori loses nothing that it accepted:
//
//	go run ./infra/chaos [-seed N] [-jobs 5000] [-faults 210]
//
// It starts everything on this machine, the four services in two copies each, has customers use it while a plan drawn from the
// seed kills, pauses and restarts what it is made of, and then asks for every invariant. README.md tells which.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"sori.internal/infra/chaos/internal/experiment"
	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/stack"
	"sori.internal/infra/internal/stack/parts"
)

func main() {
	if ran, code := parts.RunChild(); ran {
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends at once
	if err := command(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

// linger is longer than net/http keeps connections that nobody uses (90 s).
const linger = 100 * time.Second

func command(ctx context.Context, args []string) (err error) {
	var opt experiment.Options
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.Uint64Var(&opt.Seed, "seed", 0, "draws the plan; 0 takes a random one")
	flags.IntVar(&opt.Jobs, "jobs", 5000, "recordings that are uploaded")
	flags.IntVar(&opt.Faults, "faults", 210, "things that go wrong")
	flags.IntVar(&opt.Clients, "customers", 48, "clients at once, each with one job at a time")
	flags.BoolVar(&opt.Race, "race", false, "build the services with the race detector")
	opt.Linger = linger
	flags.DurationVar(&opt.Patience, "patience", time.Hour, "give up after this time")
	keep := flags.Bool("keep", false, "keep the folder with data and logs, which a failure keeps anyway")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if opt.Seed == 0 {
		opt.Seed = rand.Uint64() >> 32
	}
	opt.Say = func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
	}
	root, err := harness.TempDir("sori-chaos-")
	if err != nil {
		return err
	}
	opt.Dir = filepath.Join(root, "experiment")
	report, err := experiment.Run(ctx, opt)
	if err == nil {
		err = report.Print(os.Stdout)
	}
	if n := report.Violated(); n > 0 {
		err = errors.Join(err, fmt.Errorf("%d invariants do not hold; again: go run ./infra/chaos -seed %d -jobs %d -faults %d -customers %d",
			n, opt.Seed, opt.Jobs, opt.Faults, opt.Clients))
	}
	if err != nil || *keep {
		opt.Say("data and logs are in %s", opt.Dir)
		return err
	}
	return errors.Join(stack.Remove(filepath.Join(opt.Dir, "stack")), os.RemoveAll(root))
}

// Command bench measures Sori and judges it by what it promises:
//
//	go run ./infra/bench [flags] [scenario...]
//
// It starts everything that it needs on this machine, measures, and throws it away; with -gateway it drives a Sori that runs
// already. README.md tells what each figure means.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/infra/bench/internal/scenario"
	"sori.internal/infra/bench/internal/target"
	"sori.internal/infra/internal/stack/parts"
)

func main() {
	if ran, code := parts.RunChild(); ran {
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends at once
	err := command(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// errMissed says that a figure breaks its bound.
var errMissed = errors.New("missed")

// options are the flags.
type options struct {
	found   target.Found
	size    scenario.Size
	json    string
	check   bool
	floor   bool
	keep    bool
	verbose bool
	profile string
	wait    time.Duration
	chosen  []scenario.Scenario
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&o.found.Gateway, "gateway", "", "drive the Sori behind this gateway instead of starting one")
	flags.StringVar(&o.found.Endpoints, "endpoints", "", "the endpoints.json of a Sori that runs, to drive it and to hear of its jobs' ends on its bus")
	flags.StringVar(&o.found.PIDs, "pids", "", "processes of a Sori that runs to be measured, as name=pid,name=pid")
	flags.IntVar(&o.size.Jobs, "n", 0, "jobs of a scenario (default: its own number)")
	flags.IntVar(&o.size.Concurrent, "c", 0, "clients or streams at a time (default: the scenario's own number)")
	flags.Int64Var(&o.size.Bytes, "size", 0, "bytes of a recording (default: the scenario's own size)")
	flags.BoolVar(&o.floor, "floor", true, "measure beside it what the unavoidable I/O alone comes to")
	flags.DurationVar(&o.wait, "patience", 10*time.Second, "how long to wait for an idle machine, where a figure is about one")
	flags.StringVar(&o.json, "json", "", "also write the report to this file, as JSON")
	flags.BoolVar(&o.check, "check", false, "exit with 1 where a figure misses its bound")
	flags.BoolVar(&o.keep, "keep", false, "keep the folder with data and logs")
	flags.StringVar(&o.profile, "profile", "", "write CPU profiles of the services into this folder (read them with go tool pprof)")
	flags.BoolVar(&o.verbose, "v", false, "show the log of the dependencies")
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), "go run ./infra/bench [flags] [scenario...]\n\nscenarios (all, where none is named):\n")
		for _, s := range scenario.All() {
			fmt.Fprintf(flags.Output(), "  %-8s %s\n", s.Name, s.About)
		}
		fmt.Fprint(flags.Output(), "\nflags:\n")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	for _, s := range scenario.All() {
		if flags.NArg() == 0 || slices.Contains(flags.Args(), s.Name) {
			o.chosen = append(o.chosen, s)
		}
	}
	for _, name := range flags.Args() {
		if !slices.ContainsFunc(o.chosen, func(s scenario.Scenario) bool { return s.Name == name }) {
			return o, fmt.Errorf("unknown scenario %q", name)
		}
	}
	return o, nil
}

func command(ctx context.Context, args []string) (err error) {
	o, err := parse(args)
	if err != nil {
		return err
	}
	w, err := open(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close(ctx)) }()
	if o.keep && w.Dir() != "" {
		say("data and logs are kept in %s", w.Dir())
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case err := <-w.Failed():
			cancel(err)
		case <-ctx.Done():
		}
	}()
	b := &scenario.Bench{Target: w, Report: scenario.NewReport(), Size: o.size, Floor: o.floor, Patience: o.wait, Say: say}
	runErr := runAll(ctx, b, o.chosen)
	if err := errors.Join(runErr, b.Report.Print(os.Stdout)); err != nil {
		return err
	}
	if o.json != "" {
		if err := b.Report.Save(o.json); err != nil {
			return err
		}
	}
	if missed := b.Report.Missed(); o.check && len(missed) > 0 {
		return fmt.Errorf("%w: %s", errMissed, names(missed))
	}
	return nil
}

func open(ctx context.Context, o options) (*target.Target, error) {
	if o.found.Gateway != "" || o.found.Endpoints != "" {
		return target.Attach(ctx, o.found)
	}
	say("building and starting everything")
	level := zerolog.WarnLevel
	if o.verbose {
		level = zerolog.DebugLevel
	}
	log := zerolog.New(zerolog.ConsoleWriter{Out: os.Stderr, TimeFormat: time.TimeOnly}).Level(level).With().Timestamp().Logger()
	return target.Start(ctx, target.Options{Keep: o.keep, Log: log, Profile: o.profile})
}

// runAll runs the scenarios. One that fails does not keep the others from running.
func runAll(ctx context.Context, b *scenario.Bench, chosen []scenario.Scenario) error {
	var errs []error
	for _, s := range chosen {
		if ctx.Err() != nil {
			return errors.Join(append(errs, context.Cause(ctx))...)
		}
		limited, cancel := context.WithTimeout(ctx, s.Limit)
		if err := s.Run(limited, b); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.Name, err))
		}
		cancel()
	}
	return errors.Join(errs...)
}

func names(figures []scenario.Figure) string {
	var all []string
	for _, f := range figures {
		all = append(all, f.Scenario+" "+f.Name)
	}
	return strings.Join(all, ", ")
}

// say tells how far it is, beside the report.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// Command bench measures Sori and compares the figures with their bounds:
//
//	go run ./infra/bench [flags] [scenario...]
//
// It starts everything that it needs on this machine, measures, and deletes everything. With -gateway or -endpoints it measures
// an installation that runs already. README.md explains the figures.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/rs/zerolog"

	"sori.internal/infra/bench/internal/scenario"
	"sori.internal/infra/bench/internal/target"
	"sori.internal/infra/internal/command"
	"sori.internal/infra/internal/stack/parts"
)

func main() {
	for _, runChild := range []func() (bool, int){parts.RunChild, target.RunTusd} {
		if ran, code := runChild(); ran {
			os.Exit(code)
		}
	}
	os.Exit(command.Main(func(ctx context.Context, args []string) int { return command.Exit("bench", run(ctx, args)) }))
}

// errMissed means that a figure misses its bound.
var errMissed = errors.New("figures miss their bounds")

// options are the command line flags.
type options struct {
	target.Found
	scenario.Size
	scenario.Attacks
	scenario.Ways
	Baseline bool          `name:"floor" default:"true" help:"also measure the baseline: the unavoidable I/O alone"`
	Patience time.Duration `default:"10s" help:"the longest wait for an idle machine before a scenario that needs one"`
	JSON     string        `name:"json" help:"also write the report to this file, as JSON"`
	Check    bool          `help:"exit with code 1 if a figure is outside its bound"`
	Keep     bool          `help:"do not delete the folder with data and logs"`
	Profile  string        `help:"write CPU profiles of the services into this folder (read them with go tool pprof)"`
	Verbose  bool          `name:"v" help:"show the log of the dependencies"`

	Scenarios []string `arg:"" optional:""`
}

func parse(args []string) (o options, chosen []scenario.Scenario, err error) {
	about := "Measures Sori and compares the figures with their bounds. The scenarios (default: all):\n\n"
	for _, s := range scenario.All() {
		about += fmt.Sprintf("  %-8s %s\n", s.Name, s.About)
	}
	if _, err := command.Parse("bench", &o, args, os.Stderr, kong.Description(about)); err != nil {
		return o, nil, err
	}
	for _, s := range scenario.All() {
		if len(o.Scenarios) == 0 || slices.Contains(o.Scenarios, s.Name) {
			chosen = append(chosen, s)
		}
	}
	for _, name := range o.Scenarios {
		if !slices.ContainsFunc(chosen, func(s scenario.Scenario) bool { return s.Name == name }) {
			return o, nil, fmt.Errorf("unknown scenario %q", name)
		}
	}
	return o, chosen, nil
}

func run(ctx context.Context, args []string) (err error) {
	o, chosen, err := parse(args)
	if err != nil {
		return err
	}
	w, err := open(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close(ctx)) }()
	if o.Keep && w.Dir() != "" {
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
	b := &scenario.Bench{Target: w, Report: scenario.NewReport(), Size: o.Size, Attacks: o.Attacks, Ways: o.Ways, Baseline: o.Baseline, Patience: o.Patience, Say: say}
	runErr := runAll(ctx, b, chosen)
	if err := errors.Join(runErr, b.Report.Print(os.Stdout)); err != nil {
		return err
	}
	if o.JSON != "" {
		if err := b.Report.Save(o.JSON); err != nil {
			return err
		}
	}
	if missed := b.Report.Missed(); o.Check && len(missed) > 0 {
		return fmt.Errorf("%w: %s", errMissed, names(missed))
	}
	return nil
}

func open(ctx context.Context, o options) (*target.Target, error) {
	if o.Gateway != "" || o.Endpoints != "" {
		return target.Attach(ctx, o.Found)
	}
	say("building and starting everything")
	level := zerolog.WarnLevel
	if o.Verbose {
		level = zerolog.DebugLevel
	}
	log := zerolog.New(zerolog.ConsoleWriter{Out: os.Stderr, TimeFormat: time.TimeOnly}).Level(level).With().Timestamp().Logger()
	return target.Start(ctx, target.Options{Keep: o.Keep, Log: log, Profile: o.Profile})
}

// runAll runs the scenarios. If one fails, it still runs the others.
func runAll(ctx context.Context, b *scenario.Bench, chosen []scenario.Scenario) error {
	var errs []error
	for _, s := range chosen {
		if ctx.Err() != nil {
			return errors.Join(append(errs, context.Cause(ctx))...)
		}
		limited, cancel := context.WithTimeout(ctx, s.Limit)
		if err := s.Run(limited, b); errors.Is(err, target.ErrNotOurs) {
			b.Report.Note("%s: not measured: %v", s.Name, err)
		} else if err != nil {
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

// say prints the progress of the measurements to stderr.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// Command sorictl is the operator's hand on a running Sori:
//
//	sorictl dead list [-consumer C] [-n N] [-json]       what was given up, and why
//	sorictl dead show SEQ                                one dead letter, whole
//	sorictl dead replay SEQ...|-all [-consumer C]        have its consumer handle the event again
//	sorictl dead drop SEQ...                             throw letters away
//	sorictl job ID                                       all that is known of a job
//	sorictl retry ID...|-failed [-force] [-code C]       analyse failed jobs again
//	sorictl cancel ID...                                 end jobs that are under way
//	sorictl reconcile [-repair] [-json] [-metrics FILE]  where log, rows and objects differ
//	sorictl tail [SUBJECT] [-job ID] [-failed]           what passes on the bus
//
// It reads what the services wrote and writes nothing of theirs: whatever it
// mends, it mends by having the service that owns it do its work.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/rs/zerolog"

	"sori.internal/infra/internal/connect"
	"sori.internal/infra/internal/tail"
	"sori.internal/shared/bus"
	"sori.internal/shared/config"
	"sori.internal/shared/fault"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends at once
	t := terminal{out: os.Stdout, errs: os.Stderr, environment: os.LookupEnv}
	os.Exit(t.exitCode(t.command(ctx, os.Args[1:])))
}

// terminal is where a command is run.
type terminal struct {
	out, errs   io.Writer
	environment config.Lookup
}

const usage = "there are `dead list|show|replay|drop`, `job`, `retry`, `cancel`, `reconcile` and `tail`; each tells its flags with -h"

func (t terminal) command(ctx context.Context, args []string) error {
	name, rest := first(args)
	switch name {
	case "dead":
		name, rest = first(rest)
		switch name {
		case "list":
			return t.deadList(ctx, rest)
		case "show":
			return t.deadShow(ctx, rest)
		case "replay":
			return t.deadReplay(ctx, rest)
		case "drop":
			return t.deadDrop(ctx, rest)
		}
		return fmt.Errorf("dead what: %q? %s", name, usage)
	case "job":
		return t.job(ctx, rest)
	case "retry":
		return t.retry(ctx, rest)
	case "cancel":
		return t.cancel(ctx, rest)
	case "reconcile":
		return t.reconcile(ctx, rest)
	case "tail":
		return t.tail(ctx, rest)
	default:
		return fmt.Errorf("unknown command %q: %s", name, usage)
	}
}

func first(args []string) (name string, rest []string) {
	if len(args) == 0 {
		return "", nil
	}
	return args[0], args[1:]
}

// exitCode tells a failure and is 1 for any. What a fault says to a client comes
// first, and the cause behind it.
func (t terminal) exitCode(err error) int {
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	fmt.Fprintln(t.errs, "sorictl:", said(err))
	return 1
}

// said is a failure in one sentence for an operator, with the cause where the operator
// has to correct it.
func said(err error) string {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Permanent {
		return err.Error()
	}
	text := f.Code
	if f.Detail != "" {
		text = f.Detail + " (" + f.Code + ")"
	}
	return text
}

// flags makes the flags of a command, with those that all have.
func (t terminal) flags(name string) (*flag.FlagSet, func() (config.Lookup, error)) {
	flags := flag.NewFlagSet("sorictl "+name, flag.ContinueOnError)
	flags.SetOutput(t.errs)
	return flags, connect.Flags(flags, t.environment)
}

// openBus connects to the bus, and fails where it does not answer. It ensures no
// stream: those are the services'.
func (t terminal) openBus(ctx context.Context, settings config.Lookup) (*bus.Bus, error) {
	var cfg bus.Config
	if err := config.Load(settings, &cfg); err != nil {
		return nil, err
	}
	b, err := bus.Open(cfg, "sorictl", zerolog.New(t.errs).Level(zerolog.ErrorLevel))
	if err != nil {
		return nil, err
	}
	if err := b.Ping(ctx); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

func (t terminal) tail(ctx context.Context, args []string) error {
	flags, settings := t.flags("tail")
	o := tail.Flags(flags)
	rest, err := connect.Parse(flags, args)
	if err != nil {
		return err
	}
	if len(rest) > 1 {
		return fmt.Errorf("tail: one subject, not %d", len(rest))
	}
	if len(rest) == 1 {
		o.Subject = rest[0]
	}
	lookup, err := settings()
	if err != nil {
		return err
	}
	var cfg tail.Config
	if err := config.Load(lookup, &cfg); err != nil {
		return err
	}
	return tail.Run(ctx, cfg, *o, t.out, func() { fmt.Fprintln(t.errs, "listening") })
}

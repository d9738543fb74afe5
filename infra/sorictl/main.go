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
//	sorictl keys create|list|revoke                      API keys of the gateway
//	sorictl tail [SUBJECT] [-job ID] [-failed]           what passes on the bus
//
// It reads what the services wrote and writes nothing of theirs: whatever it
// mends, it mends by having the service that owns it do its work. API keys are the
// exception: the first one is needed before the gateway answers anybody. They are
// written by the gateway's own code.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"
	"github.com/rs/zerolog"

	"sori.internal/infra/internal/command"
	"sori.internal/infra/internal/tail"
	"sori.internal/shared/bus"
	"sori.internal/shared/config"
	"sori.internal/shared/fault"
)

func main() {
	t := terminal{out: os.Stdout, errs: os.Stderr, environment: os.LookupEnv}
	os.Exit(command.Main(func(ctx context.Context, args []string) int { return t.exitCode(t.command(ctx, args)) }))
}

// terminal is where a command is run.
type terminal struct {
	out, errs   io.Writer
	environment config.Lookup
	dir         string // given by the operator
}

// grammar is the commands with their arguments.
type grammar struct {
	Dir  string `help:"the state folder of a local Sori (default .sori, unless NATS_URL is set)"`
	Dead struct {
		List   deadList   `cmd:"" help:"list dead letters, the newest last"`
		Show   deadShow   `cmd:"" help:"show a dead letter: reason, event, body, state of its job"`
		Replay deadReplay `cmd:"" help:"have the consumer handle the event again"`
		Drop   deadDrop   `cmd:"" help:"delete dead letters; the events stay in the log"`
	} `cmd:"" help:"dead letters: list, show, replay, drop"`
	Keys struct {
		Create keysCreate `cmd:"" help:"make an API key, which is shown only now"`
		List   keysList   `cmd:"" help:"list API keys, the oldest first"`
		Revoke keysRevoke `cmd:"" help:"revoke API keys; the gateways refuse them within five seconds"`
	} `cmd:"" help:"API keys of the gateway: create, list, revoke"`
	Job       jobCommand       `cmd:"" help:"everything that is known of a job, on one screen"`
	Retry     retryCommand     `cmd:"" help:"analyse failed jobs again, without a new upload"`
	Cancel    cancelCommand    `cmd:"" help:"cancel jobs that have not ended"`
	Reconcile reconcileCommand `cmd:"" help:"list where log, records and bucket differ"`
	Tail      tailCommand      `cmd:"" help:"show events as they are published"`
}

func (t terminal) command(ctx context.Context, args []string) error {
	var g grammar
	parsed, err := command.Parse("sorictl", &g, args, t.errs, kong.BindTo(ctx, (*context.Context)(nil)))
	if err != nil {
		return err
	}
	t.dir = g.Dir
	return parsed.Run(t)
}

// settings are those of the installation that the operator means.
func (t terminal) settings() (config.Lookup, error) { return command.Settings(t.dir, t.environment) }

// exitCode tells a failure and is 1 for any. What a fault says to a client comes
// first, and the cause behind it.
func (t terminal) exitCode(err error) int {
	if err == nil || errors.Is(err, command.ErrHelp) {
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

type tailCommand struct{ tail.Options }

// Run shows what is published on the bus.
func (c *tailCommand) Run(ctx context.Context, t terminal) error {
	lookup, err := t.settings()
	if err != nil {
		return err
	}
	var cfg tail.Config
	if err := config.Load(lookup, &cfg); err != nil {
		return err
	}
	return tail.Run(ctx, cfg, c.Options, t.out, func() { fmt.Fprintln(t.errs, "listening") })
}

// Command sorictl is the command line tool for operators of a running Sori:
//
//	sorictl dead list [-consumer C] [-n N] [-json]       list dead letters
//	sorictl dead show SEQ                                show dead letters in full
//	sorictl dead replay SEQ...|-all [-consumer C]        make the consumer handle the event again
//	sorictl dead drop SEQ...                             delete dead letters
//	sorictl job ID                                       show everything about a job
//	sorictl retry ID...|-failed [-force] [-code C]       analyse failed jobs again
//	sorictl cancel ID...                                 cancel jobs that have not ended
//	sorictl reconcile [-repair] [-json] [-metrics FILE]  compare log, rows and objects
//	sorictl keys create|list|revoke                      manage API keys of the gateway
//	sorictl audit [-owner O] [-object PATH] [-since 24h] list requests that changed something or were denied
//	sorictl provision                                    create the resources and accounts of the services
//	sorictl secrets                                      write .env with random secrets
//	sorictl tail [SUBJECT] [-job ID] [-failed]           print events as they are published
//
// It reads the data of jobs and does not change it: to repair something, it makes the
// service that owns the data do its work again. It changes only the following:
//
//  1. dead letters, which it deletes,
//  2. the resources and accounts that it provisions, so that the services need no
//     permission to create them,
//  3. API keys, by the gateway's own code, because the first key is needed before the
//     gateway accepts any request.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

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

// terminal contains the output streams and the environment of a command.
type terminal struct {
	out, errs   io.Writer
	environment config.Lookup
	dir         string // the flag -dir
}

// grammar describes the commands and their arguments.
type grammar struct {
	Dir  string `help:"the state folder of the local runner (default: .sori, unless NATS_URL is set)"`
	Dead struct {
		List   deadList   `cmd:"" help:"list dead letters, oldest first"`
		Show   deadShow   `cmd:"" help:"show dead letters in full: reason, event, body, state of the job"`
		Replay deadReplay `cmd:"" help:"make the consumer handle the event again, and delete the dead letter if that succeeds"`
		Drop   deadDrop   `cmd:"" help:"delete dead letters; the events stay in the log"`
	} `cmd:"" help:"dead letters: list, show, replay, drop"`
	Keys struct {
		Create keysCreate `cmd:"" help:"create an API key, which is printed only once"`
		List   keysList   `cmd:"" help:"list API keys, oldest first"`
		Revoke keysRevoke `cmd:"" help:"revoke API keys; the gateways refuse them within five seconds"`
	} `cmd:"" help:"API keys of the gateway: create, list, revoke"`
	Audit     auditCommand     `cmd:"" help:"list requests that changed something, and those that were denied"`
	Job       jobCommand       `cmd:"" help:"show everything about a job on one screen"`
	Retry     retryCommand     `cmd:"" help:"analyse failed jobs again, without a new upload"`
	Cancel    cancelCommand    `cmd:"" help:"cancel jobs that have not ended"`
	Reconcile reconcileCommand `cmd:"" help:"list differences between log, records and bucket"`
	Provision provisionCommand `cmd:"" help:"create or update the resources and accounts of the services on NATS, in Postgres and on S3"`
	Secrets   secretsCommand   `cmd:"" help:"write .env for docker-compose.yml with random secrets, or add the missing ones"`
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

// settings returns the settings of the installation that the operator has selected.
func (t terminal) settings() (config.Lookup, error) { return command.Settings(t.dir, t.environment) }

// table returns a writer that aligns columns, which are separated by tabs.
func (t terminal) table() *tabwriter.Writer { return tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0) }

// lines prints each value as a JSON object in one line.
func lines[T any](t terminal, values []T) error {
	encoder := json.NewEncoder(t.out)
	for _, v := range values {
		if err := encoder.Encode(v); err != nil {
			return fmt.Errorf("print JSON: %w", err)
		}
	}
	return nil
}

// exitCode prints an error in the format of said, and returns 1. Without an error, and after help, it
// prints nothing and returns 0.
func (t terminal) exitCode(err error) int {
	if err == nil || errors.Is(err, command.ErrHelp) {
		return 0
	}
	fmt.Fprintln(t.errs, "sorictl:", said(err))
	return 1
}

// said returns an error as text for an operator. For a fault that is not permanent, the text is the detail and the
// code, with the cause only if a dependency is unavailable or full: then the cause shows the operator the error to
// correct. For any other error the text is the whole error.
func said(err error) string {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Permanent {
		return err.Error()
	}
	text := f.Code
	if f.Detail != "" {
		text = f.Detail + " (" + f.Code + ")"
	}
	if (f.Kind == fault.Unavailable || f.Kind == fault.Exhausted) && f.Err != nil {
		text += ": " + tail.Clean(f.Err.Error())
	}
	return text
}

// openBus connects to NATS, and returns an error if NATS does not answer. It creates no
// stream, because the services own the streams.
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

// Run prints events as they are published.
func (c *tailCommand) Run(ctx context.Context, t terminal) error {
	lookup, err := t.settings()
	if err != nil {
		return err
	}
	var cfg tail.Config
	if err := config.Load(lookup, &cfg); err != nil {
		return err
	}
	return tail.Run(ctx, cfg, c.Options, t.out, func(text string) { fmt.Fprintln(t.errs, text) })
}

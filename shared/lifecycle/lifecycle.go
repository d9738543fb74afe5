// Package lifecycle runs the parts of a process. They start together. When one fails or a signal
// arrives, all are stopped and waited for.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"sori.internal/shared/buildinfo"
	"sori.internal/shared/config"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
	"sori.internal/shared/wait"
)

// Process is what a service gets from the process that it runs in.
type Process struct {
	Lookup config.Lookup // finds settings
	Stderr io.Writer     // takes the log

	// Listening, where set, is told the address that the service listens on.
	Listening func(net.Addr)
}

// Configure reads the settings of a service into cfg, and returns its root logger, whose settings
// are a part of cfg.
func (p Process) Configure(cfg any, logs *logging.Config, service string) (zerolog.Logger, error) {
	if err := config.Load(p.Lookup, cfg); err != nil {
		return zerolog.Nop(), err
	}
	return logging.New(*logs, service, buildinfo.Version(), p.Stderr)
}

// Main runs a service until it ends or a SIGINT or SIGTERM asks it to, and
// returns the exit code. A second signal ends the process at once. With the
// argument healthcheck it asks the service that runs beside it whether it is
// ready instead: an image without a shell has nothing else to ask with. cfg is a
// pointer to the service's settings, of which the default of HTTP_ADDR is read.
func Main(run func(context.Context, Process) error, cfg any) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the next signal meets the default again
	if len(os.Args) == 2 && os.Args[1] == "healthcheck" {
		run = func(ctx context.Context, p Process) error { return healthcheck(ctx, p.Lookup, cfg) }
	}
	if err := run(ctx, Process{Lookup: os.LookupEnv, Stderr: os.Stderr}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// healthcheck asks for /readyz at the port of HTTP_ADDR.
func healthcheck(ctx context.Context, lookup config.Lookup, cfg any) error {
	addr, err := listenAddress(lookup, cfg)
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("HTTP_ADDR: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort("127.0.0.1", port)+"/readyz", nil)
	if err != nil {
		return fmt.Errorf("ask for readiness: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask for readiness: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask for readiness: status %d", resp.StatusCode)
	}
	return nil
}

// listenAddress is HTTP_ADDR, or its default in a service's settings.
func listenAddress(lookup config.Lookup, cfg any) (string, error) {
	const name = "HTTP_ADDR"
	if addr, _ := lookup(name); addr != "" {
		return addr, nil
	}
	settings, err := config.Describe(cfg)
	if err != nil {
		return "", fmt.Errorf("default of %s: %w", name, err)
	}
	for _, s := range settings {
		if s.Name == name {
			return s.Default, nil
		}
	}
	return "", nil
}

// Part is something that works until its context ends and returns when its work
// in hand is done.
type Part func(ctx context.Context) error

// Run runs the parts until ctx ends or one fails, then waits for all. The end of
// ctx is no failure.
func Run(ctx context.Context, parts ...Part) error {
	group, groupCtx := errgroup.WithContext(ctx)
	for _, part := range parts {
		group.Go(func() error { return part(groupCtx) })
	}
	if err := group.Wait(); err != nil && !fault.Stopped(ctx, err) {
		return err
	}
	return nil
}

// While makes a part of two, of which the second works for as long as the first:
// it is not stopped before the first has returned. A first that still serves
// after a stop needs what the second brings.
func While(first, second Part) Part {
	return func(ctx context.Context) error {
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		working, finish := context.WithCancel(context.WithoutCancel(ctx))
		defer finish()
		ended := make(chan error, 1)
		go func() {
			defer stop()
			ended <- second(working)
		}()
		err := first(ctx)
		finish()
		return errors.Join(err, <-ended)
	}
}

// setupPause is the longest wait between two tries of a setup.
const setupPause = 5 * time.Second

// After makes a part that first does setup, again and again while a dependency
// is away, and then runs the parts. Any other failure of setup ends it, and so does a
// dependency that refuses the service for good.
func After(log zerolog.Logger, setup func(context.Context) error, parts ...Part) Part {
	return func(ctx context.Context) error {
		for pause := 100 * time.Millisecond; ; pause = min(2*pause, setupPause) {
			err := setup(ctx)
			if err == nil {
				return Run(ctx, parts...)
			}
			if fault.Stopped(ctx, err) {
				return nil
			}
			if fault.As(err).Lasting || !fault.Is(err, fault.Unavailable) && !fault.Is(err, fault.Exhausted) {
				return fmt.Errorf("set up: %w", err)
			}
			log.Warn().Err(err).Msg("waiting for a dependency")
			if wait.For(ctx, pause) != nil {
				return nil //nolint:nilerr // the process stops, which is no failure of the setup
			}
		}
	}
}

// Closing closes c and joins its error to *err; for defer, in reverse order of
// opening.
func Closing(err *error, c io.Closer) { *err = errors.Join(*err, c.Close()) }

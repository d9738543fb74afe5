// Package lifecycle runs the components of a process. The components start together. When one fails
// or a signal arrives, all are stopped, and Run waits until they have returned.
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

// Process contains what a service gets from its operating-system process. Tests replace it.
type Process struct {
	Lookup config.Lookup // looks up settings
	Stderr io.Writer     // receives the log

	// Listening, if set, is called with the address on which the service listens.
	Listening func(net.Addr)

	// AdminListening, if set, is called with the address on which the service serves its metrics.
	AdminListening func(net.Addr)
}

// Configure reads the settings of a service into cfg, and returns its root logger. The settings of
// the logger, logs, must be a part of cfg.
func (p Process) Configure(cfg any, logs *logging.Config, service string) (zerolog.Logger, error) {
	if err := config.Load(p.Lookup, cfg); err != nil {
		return zerolog.Nop(), err
	}
	return logging.New(*logs, service, buildinfo.Version(), p.Stderr)
}

// Main runs a service until it returns or the process receives SIGINT or SIGTERM, and returns the
// exit code. A second signal ends the process at once.
//
// With the argument healthcheck, Main instead requests the readiness of the service that runs in
// the same container, since the image has no shell and no curl, and returns 1 if the service is not
// ready. cfg is a pointer to the settings of the service: Main reads the default of HTTP_ADDR from
// it.
func Main(run func(context.Context, Process) error, cfg any) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM) // the context of the whole process
	defer stop()
	context.AfterFunc(ctx, stop) // the second signal has its default effect
	if len(os.Args) == 2 && os.Args[1] == "healthcheck" {
		run = func(ctx context.Context, p Process) error { return healthcheck(ctx, p.Lookup, cfg) }
	}
	if err := run(ctx, Process{Lookup: os.LookupEnv, Stderr: os.Stderr}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// healthcheck requests /readyz at the port of HTTP_ADDR.
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
		return fmt.Errorf("request readiness: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("request readiness: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("request readiness: status %d", resp.StatusCode)
	}
	return nil
}

// listenAddress returns HTTP_ADDR, or its default in the settings of a service.
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

// Component runs until its context ends, and returns when it has finished the work that it had
// begun.
type Component func(ctx context.Context) error

// Run runs the components until ctx ends or one fails, then waits for all of them. It returns no
// error if only ctx has ended.
func Run(ctx context.Context, components ...Component) error {
	group, groupCtx := errgroup.WithContext(ctx)
	for _, c := range components {
		group.Go(func() error { return c(groupCtx) })
	}
	if err := group.Wait(); err != nil && !fault.Stopped(ctx, err) {
		return err
	}
	return nil
}

// While combines two components. The second is stopped only when the first has returned, so that
// the first can use the second while it shuts down. If the second returns, the first is stopped.
func While(first, second Component) Component {
	return func(ctx context.Context) error {
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		secondCtx, stopSecond := context.WithCancel(context.WithoutCancel(ctx))
		defer stopSecond()
		ended := make(chan error, 1)
		go func() {
			defer stop()
			ended <- second(secondCtx)
		}()
		err := first(ctx)
		stopSecond()
		return errors.Join(err, <-ended)
	}
}

// setupPause is the longest delay between two attempts of a setup.
const setupPause = 5 * time.Second

// AfterSetup makes a component that calls setup and then runs the components. It repeats setup
// while a dependency is unavailable or full. Any other error of setup, or a permanent one
// (fault.Error), ends the component.
func AfterSetup(log zerolog.Logger, setup func(context.Context) error, components ...Component) Component {
	return func(ctx context.Context) error {
		for pause := 100 * time.Millisecond; ; pause = min(2*pause, setupPause) {
			err := setup(ctx)
			if err == nil {
				return Run(ctx, components...)
			}
			if fault.Stopped(ctx, err) {
				return nil
			}
			if fault.As(err).Permanent || !fault.Is(err, fault.Unavailable) && !fault.Is(err, fault.Exhausted) {
				return fmt.Errorf("set up: %w", err)
			}
			log.Warn().Err(err).Msg("waiting for a dependency")
			if wait.For(ctx, pause) != nil {
				return nil //nolint:nilerr // the process stops, which is no failure of the setup
			}
		}
	}
}

// Closing closes c and joins its error to *err. It is meant for defer.
func Closing(err *error, c io.Closer) { *err = errors.Join(*err, c.Close()) }

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/stack"
	"sori.internal/infra/internal/stack/proc"
	"sori.internal/shared/lifecycle"
)

// options are the flags that the commands share.
type options struct {
	dir  string
	port int // of the gateway; -1 is 8000 or, where that is taken, any
}

const usualPort = 8000

func parse(name string, args []string) (options, []string, error) {
	o := options{port: -1}
	flags := flag.NewFlagSet("local "+name, flag.ContinueOnError)
	flags.StringVar(&o.dir, "dir", ".sori", "the folder that keeps the state")
	flags.Func("port", "the gateway's port; 0 is any free one (default 8000, or a free one where that is taken)", func(s string) error {
		port, err := strconv.ParseUint(s, 10, 16)
		o.port = int(port)
		return err
	})
	if err := flags.Parse(args); err != nil {
		return o, nil, err
	}
	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return o, nil, fmt.Errorf("state folder: %w", err)
	}
	o.dir = dir
	return o, flags.Args(), nil
}

// gatewayAddr is where the gateway is to listen; empty is anywhere.
func (o options) gatewayAddr() (string, error) {
	switch {
	case o.port == 0:
		return "", nil
	case o.port > 0 && proc.PortTaken(o.port):
		return "", fmt.Errorf("port %d is taken: choose another with -port", o.port)
	case o.port > 0:
		return proc.Address(o.port), nil
	case proc.PortTaken(usualPort):
		return "", nil
	default:
		return proc.Address(usualPort), nil
	}
}

// runAll runs everything until ctx ends.
func runAll(ctx context.Context, args []string) error {
	o, rest, err := parse("", args)
	if err != nil || len(rest) > 0 {
		return errors.Join(err, unexpected(rest))
	}
	return withDeps(ctx, o, func(ctx context.Context, deps stack.Endpoints, at harness.Layout, vars map[string]map[string]string) error {
		ready := func(ctx context.Context) error {
			if err := waitReady(ctx, at, harness.Tracker, harness.Uploader, harness.Dispatcher, harness.Gateway); err != nil {
				return err
			}
			token, err := sampleToken(ctx, gatewayURL(at))
			if err != nil {
				return err
			}
			remove, err := writeEndpoints(o.dir, deps, at, vars)
			if err != nil {
				return err
			}
			defer remove()
			printScreen(os.Stdout, o.dir, deps, at, vars, token)
			<-ctx.Done()
			return nil
		}
		return lifecycle.Run(ctx, ready,
			service(harness.Gateway, vars[harness.Gateway]), service(harness.Uploader, vars[harness.Uploader]),
			service(harness.Dispatcher, vars[harness.Dispatcher]), service(harness.Tracker, vars[harness.Tracker]))
	})
}

// runDeps runs what the services need until ctx ends, and tells them in files.
func runDeps(ctx context.Context, args []string) error {
	o, rest, err := parse("deps", args)
	if err != nil || len(rest) > 0 {
		return errors.Join(err, unexpected(rest))
	}
	return withDeps(ctx, o, func(ctx context.Context, deps stack.Endpoints, at harness.Layout, vars map[string]map[string]string) error {
		vars[harness.Gateway][originsSetting], vars[harness.Uploader][originsSetting] = ownOrigins, ownOrigins
		for _, name := range harness.Services() {
			if err := writeEnv(filepath.Join(o.dir, name+".env"), vars[name]); err != nil {
				return err
			}
		}
		remove, err := writeEndpoints(o.dir, deps, at, vars)
		if err != nil {
			return err
		}
		defer remove()
		printDeps(os.Stdout, o.dir, deps, at, vars)
		<-ctx.Done()
		return nil
	})
}

func unexpected(args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("unexpected argument %q", args[0])
}

// withDeps starts the dependencies and the analysis server, calls work, and stops
// them in reverse order. It ends work where one of them ends by itself.
func withDeps(ctx context.Context, o options, work func(context.Context, stack.Endpoints, harness.Layout, map[string]map[string]string) error) (err error) {
	addr, err := o.gatewayAddr()
	if err != nil {
		return err
	}
	deps, err := stack.Start(ctx, stack.Options{Dir: o.dir, Log: quietLog()})
	if err != nil {
		return err
	}
	defer func() {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
		defer cancel()
		err = errors.Join(err, deps.Stop(stopping))
	}()
	secret, err := webhookSecret(o.dir)
	if err != nil {
		return err
	}
	at, err := harness.Reserve(ctx, nil, map[string]string{harness.Gateway: addr})
	if err != nil {
		return err
	}
	vars := map[string]map[string]string{}
	for _, name := range harness.Names() {
		vars[name] = harness.Environment(deps.Endpoints, at, secret, name, 0)
	}
	vars[harness.Gateway][consoleSetting] = consoleDir(o.dir)
	return withAnalyzer(ctx, at, vars, func(ctx context.Context) error {
		return lifecycle.Run(ctx, func(ctx context.Context) error {
			select {
			case err := <-deps.Exited():
				return err
			case <-ctx.Done():
				return nil
			}
		}, buildConsole(os.Stdout, o.dir), func(ctx context.Context) error { return work(ctx, deps.Endpoints, at, vars) })
	})
}

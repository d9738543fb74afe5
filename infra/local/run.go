package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/stack"
	"sori.internal/infra/internal/stack/proc"
	"sori.internal/shared/lifecycle"
)

// options are the flags that the commands share.
type options struct {
	Dir  string  `default:".sori" help:"the state folder, for data, passwords and logs"`
	Port *uint16 `help:"the gateway's port; 0 for any free port (default 8000, or a free port if 8000 is in use)"`
}

const usualPort = 8000

// gatewayAddr returns the address for the gateway to listen on, or "" for any free port.
func (o options) gatewayAddr() (string, error) {
	switch {
	case o.Port == nil && proc.PortTaken(usualPort), o.Port != nil && *o.Port == 0:
		return "", nil
	case o.Port == nil:
		return proc.Address(usualPort), nil
	case proc.PortTaken(int(*o.Port)):
		return "", fmt.Errorf("port %d is in use: choose another one with -port", *o.Port)
	default:
		return proc.Address(int(*o.Port)), nil
	}
}

type runCommand struct {
	Auth bool `help:"require authentication, and also start an OpenID provider at which users sign in; without this flag every request is allowed"`
}

// Run runs everything until ctx ends.
func (c runCommand) Run(ctx context.Context, o options) error {
	return withDeps(ctx, o, func(ctx context.Context, deps stack.Endpoints, at harness.Layout, vars map[string]map[string]string) error {
		auth, err := newAuth(ctx, c.Auth, o.Dir, gatewayURL(at))
		if err != nil {
			return err
		}
		maps.Copy(vars[harness.Gateway], auth.settings())
		ready := func(ctx context.Context) error {
			if err := waitReady(ctx, at, harness.Tracker, harness.Uploader, harness.Dispatcher, harness.Gateway); err != nil {
				return err
			}
			admin, err := auth.keys(ctx, vars[harness.Gateway])
			if err != nil {
				return err
			}
			token, err := sampleToken(ctx, &client.Client{Base: gatewayURL(at), Credential: admin})
			if err != nil {
				return err
			}
			remove, err := writeEndpoints(o.Dir, deps, at, vars)
			if err != nil {
				return err
			}
			defer remove()
			printScreen(os.Stdout, o.Dir, deps, at, vars, token, auth)
			<-ctx.Done()
			return nil
		}
		return lifecycle.Run(ctx, ready, auth.serve,
			service(harness.Gateway, vars[harness.Gateway]), service(harness.Uploader, vars[harness.Uploader]),
			service(harness.Dispatcher, vars[harness.Dispatcher]), service(harness.Tracker, vars[harness.Tracker]))
	})
}

type depsCommand struct{}

// Run runs the dependencies and the analysis server until ctx ends, and writes the services' settings into files.
func (depsCommand) Run(ctx context.Context, o options) error {
	return withDeps(ctx, o, func(ctx context.Context, deps stack.Endpoints, at harness.Layout, vars map[string]map[string]string) error {
		vars[harness.Gateway][originsSetting], vars[harness.Uploader][originsSetting] = ownOrigins, ownOrigins
		for _, name := range harness.Services() {
			if err := writeEnv(filepath.Join(o.Dir, name+".env"), vars[name]); err != nil {
				return err
			}
		}
		remove, err := writeEndpoints(o.Dir, deps, at, vars)
		if err != nil {
			return err
		}
		defer remove()
		printDeps(os.Stdout, o.Dir, deps, at, vars)
		<-ctx.Done()
		return nil
	})
}

// natsSettings are the settings from the caller's environment with which NATS is provisioned.
func natsSettings() []string {
	return []string{
		namespaceSetting, "NATS_REPLICAS", "JOBS_MAX_AGE", "JOBS_MAX_BYTES", "STAGING_MAX_BYTES", "RESULT_CACHE_TTL", "RESULT_CACHE_BYTES",
	}
}

// provision creates what the services need on NATS, with the settings of the caller's environment, and
// the accounts of the services.
func provision(ctx context.Context, deps stack.Endpoints) (harness.Accounts, error) {
	settings := harness.Connections(deps, nil)
	for _, name := range append(natsSettings(), harness.ReferenceSettings()...) {
		settings[name], _ = lookup(nil)(name)
	}
	return harness.Provision(ctx, settings)
}

// withDeps starts the dependencies and the analysis server, calls work, and then stops
// them in reverse order. If one of them ends by itself, it cancels the context of work.
func withDeps(ctx context.Context, o options, work func(context.Context, stack.Endpoints, harness.Layout, map[string]map[string]string) error) (err error) {
	addr, err := o.gatewayAddr()
	if err != nil {
		return err
	}
	deps, err := stack.Start(ctx, stack.Options{Dir: o.Dir, Log: quietLog()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop(ctx, deps)) }()
	secrets, err := keptSecrets(o.Dir)
	if err != nil {
		return err
	}
	at, err := harness.Reserve(nil, map[string]string{harness.Gateway: addr, harness.Analyzer: analyzerAddr(o.Dir)})
	if err != nil {
		return err
	}
	if err := keepAnalyzerAddr(o.Dir, at[harness.Analyzer][0]); err != nil {
		return err
	}
	accounts, err := provision(ctx, deps.Endpoints)
	if err != nil {
		return err
	}
	own := func(name string) map[string]string {
		return withReplacements(harness.Environment(deps.Endpoints, at, secrets, name, 0), os.LookupEnv)
	}
	vars := map[string]map[string]string{harness.Analyzer: own(harness.Analyzer)}
	for _, name := range harness.Services() {
		vars[name] = accounts.Settings(withNamespace(own(name)), name)
	}
	vars[harness.Gateway][consoleSetting] = consoleDir(o.Dir)
	return withAnalyzer(ctx, at, vars, func(ctx context.Context) error {
		return lifecycle.Run(ctx, func(ctx context.Context) error {
			select {
			case err := <-deps.Exited():
				return err
			case <-ctx.Done():
				return nil
			}
		}, buildConsole(os.Stdout, o.Dir), func(ctx context.Context) error { return work(ctx, deps.Endpoints, at, vars) })
	})
}

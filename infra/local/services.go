package main

import (
	"context"
	"fmt"
	"os"

	analyzerapp "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/fleet"
	dispatcherapp "sori.internal/services/dispatcher/app"
	gatewayapp "sori.internal/services/gateway/app"
	trackerapp "sori.internal/services/tracker/app"
	uploaderapp "sori.internal/services/uploader/app"
	"sori.internal/shared/lifecycle"
)

// service makes a part of a process of one of the services.
func service(name string, own map[string]string) lifecycle.Part {
	run := map[string]func(context.Context, lifecycle.Process) error{
		fleet.Gateway: gatewayapp.Run, fleet.Uploader: uploaderapp.Run, fleet.Dispatcher: dispatcherapp.Run, fleet.Tracker: trackerapp.Run,
		fleet.Analyzer: func(ctx context.Context, p lifecycle.Process) error {
			return analyzerapp.Run(ctx, p.Lookup, p.Stderr)
		},
	}[name]
	return func(ctx context.Context) error {
		if err := run(ctx, lifecycle.Process{Lookup: lookup(own), Stderr: os.Stderr}); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
}

// waitReady returns when every service says that it can work.
func waitReady(ctx context.Context, at fleet.Layout, names ...string) error {
	for _, name := range names {
		if err := fleet.WaitReady(ctx, at.URL(name, 0)); err != nil {
			return fmt.Errorf("wait for the %s: %w", name, err)
		}
	}
	return nil
}

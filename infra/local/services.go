package main

import (
	"context"
	"fmt"
	"os"

	analyzerapp "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/harness"
	dispatcherapp "sori.internal/services/dispatcher/app"
	gatewayapp "sori.internal/services/gateway/app"
	trackerapp "sori.internal/services/tracker/app"
	uploaderapp "sori.internal/services/uploader/app"
	"sori.internal/shared/lifecycle"
)

// service returns a component that runs the named service in this process.
func service(name string, own map[string]string) lifecycle.Component {
	run := map[string]func(context.Context, lifecycle.Process) error{
		harness.Gateway: gatewayapp.Run, harness.Uploader: uploaderapp.Run, harness.Dispatcher: dispatcherapp.Run, harness.Tracker: trackerapp.Run,
		harness.Analyzer: func(ctx context.Context, p lifecycle.Process) error {
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

// waitReady returns when every named service is ready.
func waitReady(ctx context.Context, at harness.Layout, names ...string) error {
	for _, name := range names {
		if err := harness.WaitReady(ctx, at.URL(name, 0)); err != nil {
			return fmt.Errorf("wait for the %s: %w", name, err)
		}
	}
	return nil
}

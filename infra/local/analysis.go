package main

import (
	"context"
	"errors"
	"maps"
	"os"

	"sori.internal/infra/internal/harness"
	"sori.internal/shared/lifecycle"
)

// targetSetting names the analysis server. Where the caller sets it, that server is
// asked, and the reference analysis server is not started.
const targetSetting = "TARGET_SERVER_URL"

// outside returns the dispatcher's settings of the analysis server that the caller's
// environment names; nil where it names none. The reference server's status URL does
// not go with another server; the caller may set one, and a webhook URL at which a
// server on another machine reaches this one.
func outside(lookup func(string) (string, bool), own map[string]string) map[string]string {
	target, _ := lookup(targetSetting)
	if target == "" {
		return nil
	}
	settings := map[string]string{targetSetting: target, "ANALYSIS_STATUS_URL": "", "WEBHOOK_URL": own["WEBHOOK_URL"]}
	for name := range settings {
		if value, ok := lookup(name); ok && value != "" {
			settings[name] = value
		}
	}
	return settings
}

// errAnalyzerEnded says that the reference analysis server ended without an error
// while it was needed.
var errAnalyzerEnded = errors.New("the analyzer ended by itself")

// withAnalyzer runs the reference analysis server for as long as work runs, which
// begins once the server is ready. Where the caller names another server, that one
// is used instead.
func withAnalyzer(ctx context.Context, at harness.Layout, vars map[string]map[string]string, work lifecycle.Component) error {
	if other := outside(os.LookupEnv, vars[harness.Dispatcher]); other != nil {
		maps.Copy(vars[harness.Dispatcher], other)
		return work(ctx)
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var failure error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		failure = service(harness.Analyzer, vars[harness.Analyzer])(serving)
	}()
	watch := func(ctx context.Context) error {
		select {
		case <-ended:
			return firstOf(failure, errAnalyzerEnded)
		case <-ctx.Done():
			return nil
		}
	}
	err := lifecycle.Run(ctx, watch, func(ctx context.Context) error {
		if err := waitReady(ctx, at, harness.Analyzer); err != nil {
			return err
		}
		return work(ctx)
	})
	stop()
	<-ended
	return firstOf(err, failure)
}

// firstOf returns the first error that is one.
func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

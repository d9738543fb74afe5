package main

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"os"

	"sori.internal/infra/internal/harness"
	"sori.internal/shared/lifecycle"
)

// targetSetting is the setting with the URL of the analysis server. If the caller's
// environment contains it, the reference analysis server is not started.
const targetSetting = "TARGET_SERVER_URL"

// outside returns the dispatcher's settings for the analysis server in the caller's environment, or nil if the
// environment names no analysis server. The status URL of the reference server is removed, since it does not fit
// another server. The caller may set another one, and a webhook URL at which a server on another machine reaches this
// one.
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

// errAnalyzerEnded means that the reference analysis server ended without an error
// while it was still needed.
var errAnalyzerEnded = errors.New("the analyzer stopped unexpectedly")

// withAnalyzer starts the reference analysis server, calls the function work when the server is
// ready, and stops the server after work. If the caller's environment names another
// analysis server, withAnalyzer only calls work.
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
			return cmp.Or(failure, errAnalyzerEnded)
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
	return cmp.Or(err, failure)
}

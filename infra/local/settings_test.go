package main

import (
	"slices"
	"testing"

	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/stack"
	"sori.internal/shared/bus"
	"sori.internal/shared/config"
)

// The services may not change streams: a setting that is missing here has no effect on them.
func TestTheRunnerProvisionsNATSWithEverySettingOfTheStreams(t *testing.T) {
	t.Parallel()
	all, err := config.Describe(new(bus.Config))
	if err != nil {
		t.Fatal(err)
	}
	connection, err := config.Describe(new(bus.Connection))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Name != "NATS_PROVISION" && !slices.Contains(connection, s) && !slices.Contains(natsSettings(), s.Name) {
			t.Errorf("%s is not passed on", s.Name)
		}
	}
}

// README.md promises that any setting of a service may be set for the runner. Those of FETCH_ALLOWED were
// ignored, so that nobody could try the limits of fetches.
func TestTheCallersEnvironmentReplacesTheLimitsThatTheRunnerChooses(t *testing.T) {
	t.Parallel()
	for name, program := range map[string]string{"FETCH_ALLOWED": harness.Gateway, "MAX_AUDIO_BYTES": harness.Analyzer} {
		for _, value := range []string{"", "other"} {
			at := harness.Layout{}
			for _, p := range append(harness.Services(), harness.Analyzer) {
				at[p] = []string{"127.0.0.1:1"}
			}
			own := harness.Environment(stack.Endpoints{}, at, harness.Secrets{}, program, 0)
			own = withReplacements(own, func(asked string) (string, bool) { return value, asked == name })
			if got := own[name]; got != value {
				t.Errorf("%s of the %s is %q, not %q", name, program, got, value)
			}
		}
	}
	own := withReplacements(map[string]string{"HTTP_ADDR": "own", "FETCH_ALLOWED": "own"}, func(name string) (string, bool) { return "other", name == "HTTP_ADDR" })
	if own["HTTP_ADDR"] != "own" || own["FETCH_ALLOWED"] != "own" {
		t.Errorf("the settings are %v", own)
	}
	if own := withReplacements(map[string]string{}, func(string) (string, bool) { return "other", true }); len(own) > 0 {
		t.Errorf("a program without these settings has %v", own)
	}
}

// Package outage_test tests outages of NATS, S3 and Postgres, one at a time and all
// together, while clients upload and viewers watch. Each test starts its own
// dependencies and processes, so that it has no effect on other tests.
package outage_test

import (
	"flag"
	"os"
	"testing"
	"time"

	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/stack"
)

// pauseFor is how long a dependency is paused. Only a long pause such as -pause=60s
// tests connections that time out during the pause.
var pauseFor = flag.Duration("pause", 6*time.Second, "how long a paused dependency stands still")

func TestMain(m *testing.M) { os.Exit(harnesstest.Main(m)) }

// patience is the time limit for a test, without the pauses.
const patience = 3 * time.Minute

// env is a running system, and the test that injects faults into it.
type env struct {
	*harnesstest.System
	t *testing.T
}

// found starts a system with the given replicas, whose services have the given settings.
func found(t *testing.T, replicas map[string]int, settings map[string]string) env {
	t.Helper()
	return env{harnesstest.StartSystem(t, harnesstest.SystemOptions{Replicas: replicas, Settings: settings, Patience: patience + 4**pauseFor}), t}
}

func parts() []stack.Part { return []stack.Part{stack.NATS, stack.S3, stack.Postgres} }

// needing returns the programs that cannot work without one of the parts.
func needing(parts ...stack.Part) []string {
	need := map[string]bool{}
	for _, part := range parts {
		switch part {
		case stack.NATS:
			return harness.Services()
		case stack.S3:
			need[harness.Uploader] = true
		case stack.Postgres:
			need[harness.Gateway], need[harness.Tracker] = true, true
		}
	}
	var names []string
	for _, name := range harness.Services() {
		if need[name] {
			names = append(names, name)
		}
	}
	return names
}

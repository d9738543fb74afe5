package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"sori.internal/infra/internal/stack"
)

func TestMain(m *testing.M) { os.Exit(stack.Main(m)) }

// A short plan: every kind of fault once, with few clients.
func TestEveryInvariantHoldsWhateverGoesWrong(t *testing.T) {
	t.Parallel()
	o := newExperiment(options{
		Seed: 1, Jobs: 180, Faults: len(kinds()), Clients: 16, Running: 6, Patience: 8 * time.Minute, Linger: linger, Sweep: sweep,
		Say: t.Logf,
	})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("data and logs are in %s", o.dir)
			return
		}
		if err := o.remove(); err != nil {
			t.Error(err)
		}
	})
	r, err := o.perform(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := r.print(&text); err != nil {
		t.Fatal(err)
	}
	t.Log(text.String())
	if n := r.violated(); n > 0 {
		t.Errorf("%d invariants are violated", n)
	}
	for _, kind := range kinds() {
		if r.injected[kind] != 1 {
			t.Errorf("%s happened %d times", kind, r.injected[kind])
		}
	}
}

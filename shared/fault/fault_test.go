package fault_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"sori.internal/shared/fault"
)

func TestABareErrorIsInternalAndHidesItsCause(t *testing.T) {
	t.Parallel()
	f := fault.As(errors.New("password=hunter2"))
	if f.Kind != fault.Internal || f.Code != "internal" {
		t.Fatalf("got %v %q", f.Kind, f.Code)
	}
	if f.Detail == "" || f.Detail == "password=hunter2" {
		t.Fatalf("detail %q", f.Detail)
	}
}

func TestAKindSurvivesWrapping(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("store job 7: %w", fault.Unreachable("storage", errors.New("refused")))
	if !fault.Is(err, fault.Unavailable) {
		t.Fatalf("kind %v", fault.KindOf(err))
	}
	if fault.As(nil) != nil || fault.Is(nil, fault.Internal) {
		t.Fatal("nil is a failure")
	}
}

func TestKindsHaveDistinctNames(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, k := range fault.Kinds() {
		if seen[k.String()] {
			t.Errorf("%s twice", k)
		}
		seen[k.String()] = true
	}
	if len(seen) != 19 {
		t.Fatalf("%d kinds", len(seen))
	}
}

func TestOnlyTheEndOfTheContextIsAStop(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	if fault.Stopped(ctx, context.Canceled) {
		t.Error("a living context counts as stopped")
	}
	cancel()
	if !fault.Stopped(ctx, fmt.Errorf("read: %w", ctx.Err())) {
		t.Error("an ended context does not count")
	}
	if fault.Stopped(ctx, errors.New("disk full")) {
		t.Error("another failure counts as a stop")
	}
}

package trace_test

import (
	"testing"

	"sori.internal/shared/trace"
)

func TestATraceGoesOnUnderANewSpan(t *testing.T) {
	t.Parallel()
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	ctx := trace.Continue(t.Context(), parent)
	if got := trace.ID(ctx); got != "0af7651916cd43dd8448eb211c80319c" {
		t.Fatalf("trace id %s", got)
	}
	if got := trace.Parent(ctx); got == parent || len(got) != len(parent) || got[:36] != parent[:36] {
		t.Fatalf("parent %s", got)
	}
}

func TestAMalformedParentStartsANewTrace(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, parent := range []string{"", "00-zz-yy-01", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "\x00"} {
		ctx := trace.Continue(t.Context(), parent)
		id := trace.ID(ctx)
		if len(id) != 32 || seen[id] {
			t.Errorf("%q: id %q", parent, id)
		}
		seen[id] = true
		// The next process continues the new trace, under the same id.
		if again := trace.ID(trace.Continue(t.Context(), trace.Parent(ctx))); again != id {
			t.Errorf("%q: lost after one hop", parent)
		}
	}
}

func TestAHeaderTellsItsTrace(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01": "0af7651916cd43dd8448eb211c80319c", "": "", "00-0-0-01": "",
	} {
		if got := trace.IDOf(header); got != want {
			t.Errorf("%q: %q", header, got)
		}
	}
}

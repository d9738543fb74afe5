package trace_test

import (
	"context"
	"fmt"

	"sori.internal/shared/trace"
)

func ExampleContinue() {
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	ctx := trace.Continue(context.Background(), parent)
	fmt.Println(trace.ID(ctx))
	fmt.Println(trace.IDOf(trace.Parent(ctx)) == trace.IDOf(parent), trace.Parent(ctx) == parent) // the trace is the same, and the span is new
	// Output:
	// 4bf92f3577b34da6a3ce929d0e0e4736
	// true false
}

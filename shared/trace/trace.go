// Package trace carries a W3C trace context from the first request through every
// event to the last callback, so that one id finds all that a job caused. It
// makes and passes ids on; it exports no spans.
package trace

import (
	"context"
	"crypto/rand"
	"strings"

	"go.opentelemetry.io/otel/propagation"
	oteltrace "go.opentelemetry.io/otel/trace"
)

// Header is the header's name (W3C Trace Context, section 3.2), in lower case
// as nats.Header, which is case-sensitive, needs it everywhere.
const Header = "traceparent"

// Continue returns a context in the trace that parent, a traceparent header,
// names, with a span id of its own. A missing or malformed parent starts a new
// trace, as the specification asks.
func Continue(ctx context.Context, parent string) context.Context {
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{Header: parent})
	cfg := oteltrace.SpanContextConfig{TraceFlags: oteltrace.FlagsSampled}
	if sc := oteltrace.SpanContextFromContext(ctx); sc.IsValid() && parent != "" {
		cfg.TraceID, cfg.TraceFlags, cfg.TraceState = sc.TraceID(), sc.TraceFlags(), sc.TraceState()
	} else {
		_, _ = rand.Read(cfg.TraceID[:]) // crypto/rand.Read never fails
	}
	_, _ = rand.Read(cfg.SpanID[:])
	return oteltrace.ContextWithSpanContext(ctx, oteltrace.NewSpanContext(cfg))
}

// Parent returns the traceparent header for what ctx calls or publishes; empty
// where ctx is in no trace.
func Parent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier.Get(Header)
}

// ID returns the trace id of ctx in hexadecimal; empty where ctx is in no trace.
func ID(ctx context.Context) string {
	if sc := oteltrace.SpanContextFromContext(ctx); sc.IsValid() {
		return sc.TraceID().String()
	}
	return ""
}

// IDOf returns the trace id in a traceparent header; empty where it has none.
func IDOf(parent string) string {
	parts := strings.Split(parent, "-")
	if len(parts) < 4 {
		return ""
	}
	id, err := oteltrace.TraceIDFromHex(parts[1])
	if err != nil {
		return ""
	}
	return id.String()
}

// Package trace propagates a W3C trace context from the first request through every event to the
// last callback, so that one id finds everything that a job caused. It creates and forwards ids,
// but exports no spans.
package trace

import (
	"context"
	"crypto/rand"
	"strings"

	"go.opentelemetry.io/otel/propagation"
	oteltrace "go.opentelemetry.io/otel/trace"
)

// Header is the name of the header (W3C Trace Context, section 3.2). It is in lower case, since
// nats.Header is case-sensitive.
const Header = "traceparent"

// Continue returns a context with a new span in the trace of parent, a traceparent header. If
// parent is missing or malformed, it starts a new trace, as the specification requires.
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

// Parent returns the traceparent header for requests and messages that are sent with ctx, or "" if
// ctx has no trace.
func Parent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier.Get(Header)
}

// ID returns the trace id of ctx in hexadecimal, or "" if ctx has no trace.
func ID(ctx context.Context) string {
	if sc := oteltrace.SpanContextFromContext(ctx); sc.IsValid() {
		return sc.TraceID().String()
	}
	return ""
}

// IDOf returns the trace id in a traceparent header, or "" if the header is malformed.
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

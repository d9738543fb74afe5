package httpserver

import (
	"context"
	"time"
)

// Shutdown lets handlers take part in a graceful shutdown. The shutdown has three steps: it begins;
// at 7/10 of the grace period, event streams are ended; at the end of the grace period, all
// connections are closed.
type Shutdown struct {
	begun   context.Context //nolint:containedctx // stored so that handlers can register functions that run when it ends
	streams context.Context //nolint:containedctx // as above

	// StreamSpread is the time over which a handler spreads the ends of its event streams, so that
	// their clients do not all reconnect at once.
	StreamSpread time.Duration
}

// OnBegin calls f when the shutdown begins. The returned function cancels this registration.
func (s *Shutdown) OnBegin(f func()) (cancel func() bool) { return context.AfterFunc(s.begun, f) }

// OnEndStreams calls f when event streams must end. The returned function cancels this
// registration.
func (s *Shutdown) OnEndStreams(f func()) (cancel func() bool) {
	return context.AfterFunc(s.streams, f)
}

// Package live is what the tracker does with the bus beside consuming: it tells
// the other copies of new versions, hears of those that are watched here, and
// finds jobs that are accepted and not yet recorded.
package live

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/logging"
)

// backlog is how many announcements may wait to be heard. What comes on top is
// dropped, and made up for by the viewers' own reading.
const backlog = 8192

// Live is the tracker's end of the broadcasts.
type Live struct {
	bus      *bus.Bus
	listener *bus.Listener
	log      zerolog.Logger
}

// New makes it on a bus.
func New(b *bus.Bus, log zerolog.Logger) *Live {
	return &Live{bus: b, listener: b.Listen(backlog), log: log}
}

// Announce implements job.Announcer.
func (l *Live) Announce(s job.Snapshot) error {
	body, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode a snapshot of job %s: %w", s.JobID, err)
	}
	return l.bus.Broadcast(event.LiveSubject(s.JobID), body)
}

// Listen implements job.Ears.
func (l *Live) Listen(ctx context.Context, id string) error {
	return l.listener.Add(ctx, event.LiveSubject(id))
}

// Ignore implements job.Ears.
func (l *Live) Ignore(id string) error { return l.listener.Remove(event.LiveSubject(id)) }

// Hear makes the part of the process that hands announcements to the hub.
func (l *Live) Hear(hub *job.Hub) func(context.Context) error {
	return func(ctx context.Context) error {
		return l.listener.Run(ctx, func(subject string, body []byte) {
			var s job.Snapshot
			if err := json.Unmarshal(body, &s); err != nil || subject != event.LiveSubject(s.JobID) {
				l.log.Warn().Err(err).Str(logging.JobID, strings.TrimPrefix(subject, event.LiveSubject(""))).Msg("announcement not understood")
				return
			}
			hub.Hear(s)
		})
	}
}

// Received implements job.Arrivals.
func (l *Live) Received(ctx context.Context, id string) (event.Received, time.Time, bool, error) {
	m, err := l.bus.Last(ctx, event.Jobs(), event.SubjectOf(id, event.NameReceived))
	if err != nil || m == nil {
		return event.Received{}, time.Time{}, false, err
	}
	e, err := event.Decode(m.Subject, m.Data)
	if err != nil {
		return event.Received{}, time.Time{}, false, fmt.Errorf("read the beginning of job %s: %w", id, err)
	}
	received, ok := e.(event.Received)
	return received, m.Time, ok, nil
}

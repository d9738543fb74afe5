// Package live publishes new versions of jobs as live updates, and delivers the live updates of all
// replicas.
package live

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/rs/zerolog"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/services/tracker/internal/watch"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/logging"
)

// bufferSize is the largest number of live updates that are received and not delivered yet. Further
// updates are dropped, since streams also read the record periodically.
const bufferSize = 8192

// Live publishes live updates and receives the live updates of all replicas.
type Live struct {
	bus        *bus.Bus
	subscriber *bus.Subscriber
	log        zerolog.Logger
}

// New makes a Live on a bus.
func New(b *bus.Bus, log zerolog.Logger) *Live {
	return &Live{bus: b, subscriber: b.NewSubscriber(bufferSize), log: log}
}

// maxResult is the size of the largest result in a live update, in bytes. Streams read a larger
// result from the database.
const maxResult = 8 << 10

// update is the body of a live update. Result is empty if the job has none, if the result is too
// large, or if the update belongs to a change after the job was completed.
type update struct {
	job.Snapshot

	Result   json.RawMessage `json:"result,omitempty"`
	Warnings []string        `json:"warnings,omitempty"` // about Result
}

// Notifier delivers new versions of jobs to the watches of its own process, and publishes them as
// live updates for the other replicas.
type Notifier struct {
	live *Live
	hub  *watch.Hub
}

// NotifierTo makes a Notifier for the watches of a hub.
func (l *Live) NotifierTo(hub *watch.Hub) Notifier { return Notifier{live: l, hub: hub} }

// Notify implements projection.Notifier.
func (n Notifier) Notify(s job.Snapshot) error {
	if len(s.Result) > maxResult {
		s.Result, s.Warnings = "", ""
	}
	n.hub.Deliver(s)
	return n.live.publish(s)
}

func (l *Live) publish(s job.Snapshot) error {
	u := update{Snapshot: s}
	if s.Result != "" {
		u.Result, u.Warnings = json.RawMessage(s.Result), s.Warnings.Codes()
	}
	body, err := json.Marshal(u)
	if err != nil {
		return fmt.Errorf("encode a snapshot of job %s: %w", s.JobID, err)
	}
	return l.bus.Broadcast(event.LiveSubject(s.JobID), body)
}

// parse decodes a live update.
func parse(body []byte) (job.Snapshot, error) {
	var u update
	if err := json.Unmarshal(body, &u); err != nil {
		return job.Snapshot{}, fmt.Errorf("read a live update: %w", err)
	}
	if len(u.Result) > 0 {
		u.Snapshot.Result, u.Snapshot.Warnings = job.Result(u.Result), job.NewWarnings(u.Warnings)
	}
	return u.Snapshot, nil
}

// Subscribe implements watch.Subscriber.
func (l *Live) Subscribe(ctx context.Context, id string) error {
	return l.subscriber.Subscribe(ctx, event.LiveSubject(id))
}

// Unsubscribe implements watch.Subscriber.
func (l *Live) Unsubscribe(id string) error { return l.subscriber.Unsubscribe(event.LiveSubject(id)) }

// DeliverTo returns a component that delivers the received live updates to the hub.
func (l *Live) DeliverTo(hub *watch.Hub) func(context.Context) error {
	return func(ctx context.Context) error {
		return l.subscriber.Run(ctx, func(subject string, body []byte) {
			s, err := parse(body)
			if err != nil || subject != event.LiveSubject(s.JobID) {
				l.log.Warn().Err(err).Str(logging.JobID, strings.TrimPrefix(subject, event.LiveSubject(""))).Msg("malformed live update")
				return
			}
			hub.Deliver(s)
		})
	}
}

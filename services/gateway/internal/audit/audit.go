// Package audit keeps the audit log: which principal changed which object, and which requests of
// the principal were denied.
//
// An entry contains the path of the object, but no content and no credential. The log outlives the
// jobs and tokens that it names. Entries are written shortly after the response: a gateway that is
// killed may lose the newest entries. While the database is unavailable, up to MaxQueued entries
// are queued; further entries are written to the log of the service.
package audit

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/wait"
)

// Entry is a request of a principal.
type Entry struct {
	At        time.Time `db:"at" json:"at"`
	Owner     string    `db:"owner" json:"owner"`           // see principal.Principal
	KeyID     string    `db:"key_id" json:"key_id"`         // id of the API key; empty for a token
	Action    string    `db:"action" json:"action"`         // method and route
	Object    string    `db:"object" json:"object"`         // path of the created or changed object
	Status    int       `db:"status" json:"status"`         // HTTP status of the response
	Address   string    `db:"address" json:"address"`       // address of the client
	RequestID string    `db:"request_id" json:"request_id"` // id of the request, as in the logs of all services
}

// Filter selects entries. An empty field matches every entry.
type Filter struct {
	Owner  string
	Object string // a part of the path, such as the id of a job
	Since  time.Time
}

// Store stores entries.
type Store interface {
	AppendAudit(ctx context.Context, entries []Entry) error
	// DeleteAudit deletes the entries from before a time and returns their number.
	DeleteAudit(ctx context.Context, before time.Time) (int64, error)
}

// MaxQueued is the largest number of entries that wait to be written.
const MaxQueued = 4096

const (
	maxBatch      = 256 // entries that are written together
	retryInterval = time.Second
	closeTimeout  = 5 * time.Second
	sweepInterval = time.Hour
)

// Log writes entries. It is safe for concurrent use.
type Log struct {
	store     Store
	retention time.Duration
	log       zerolog.Logger
	queue     chan Entry
	unwritten []Entry // entries that are received from queue and not yet written; used by Run, and then by Close
}

// New makes a log that keeps its entries for the duration retention.
func New(store Store, retention time.Duration, log zerolog.Logger) *Log {
	return &Log{store: store, retention: retention, log: log, queue: make(chan Entry, MaxQueued)}
}

// Record queues an entry and does not wait until it is written. If the queue is full, it writes the
// entry to the log of the service.
func (l *Log) Record(e Entry) {
	select {
	case l.queue <- e:
	default:
		l.drop(e)
	}
}

// drop writes an entry to the log of the service, since the audit log cannot store it.
func (l *Log) drop(e Entry) {
	l.log.Error().Interface("entry", e).Msg("audit entry not stored")
}

// Run writes entries, and deletes those whose retention has ended, until ctx ends.
func (l *Log) Run(ctx context.Context) error {
	stopSweeps := wait.InBackground(ctx, sweepInterval, l.sweep)
	defer stopSweeps()
	for ctx.Err() == nil {
		if !l.receive(ctx) {
			return nil
		}
		for err := l.write(ctx); err != nil && ctx.Err() == nil; err = l.write(ctx) {
			l.log.Warn().Err(err).Int("waiting", len(l.unwritten)+len(l.queue)).Msg("audit entries not stored yet")
			_ = wait.For(ctx, retryInterval) // the wait ends early if the service stops
		}
	}
	return nil
}

// receive waits for an entry. It takes this entry and further queued entries from the queue, up to
// a full batch. It returns false if ctx ends before an entry arrives.
func (l *Log) receive(ctx context.Context) bool {
	select {
	case e := <-l.queue:
		l.unwritten = append(l.unwritten, e)
		l.receiveQueued()
		return true
	case <-ctx.Done():
		return false
	}
}

// receiveQueued takes entries from the queue until it is empty or the batch is full.
func (l *Log) receiveQueued() {
	for len(l.unwritten) < maxBatch {
		select {
		case e := <-l.queue:
			l.unwritten = append(l.unwritten, e)
		default:
			return
		}
	}
}

// write writes the entries that were received.
func (l *Log) write(ctx context.Context) error {
	if err := l.store.AppendAudit(ctx, l.unwritten); err != nil {
		return err
	}
	l.unwritten = l.unwritten[:0]
	return nil
}

// Close implements io.Closer. It writes the entries that are still queued. Run must have returned,
// and Record must not be called any more.
func (l *Log) Close() error {
	//nolint:contextcheck // the context of Run has ended
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	for l.receiveQueued(); len(l.unwritten) > 0; l.receiveQueued() {
		if err := l.write(ctx); err != nil {
			l.log.Error().Err(err).Msg("audit entries not stored")
			for _, e := range l.unwritten {
				l.drop(e)
			}
			l.unwritten = nil
		}
	}
	return nil
}

// sweep deletes the entries whose retention has ended.
func (l *Log) sweep(ctx context.Context) {
	deleted, err := l.store.DeleteAudit(ctx, time.Now().Add(-l.retention))
	if err != nil && ctx.Err() == nil {
		l.log.Warn().Err(err).Msg("audit entries not deleted")
	} else if deleted > 0 {
		l.log.Info().Int64("deleted", deleted).Msg("old audit entries deleted")
	}
}

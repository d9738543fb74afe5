package audit_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/services/gateway/internal/audit"
)

// rows is a store that can fail.
type rows struct {
	mu      sync.Mutex
	written []audit.Entry
	failing bool
	deleted time.Time
}

func (r *rows) setFailing(failing bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failing = failing
}

func (r *rows) AppendAudit(_ context.Context, entries []audit.Entry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failing {
		return errors.New("the database is unavailable")
	}
	r.written = append(r.written, entries...)
	return nil
}

func (r *rows) DeleteAudit(_ context.Context, before time.Time) (int64, error) {
	r.deleted = before
	return 1, nil
}

// run runs a log. The returned function stops the log and closes it.
func run(t *testing.T, l *audit.Log) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	return func() {
		cancel()
		if err := errors.Join(<-ended, l.Close()); err != nil {
			t.Error(err)
		}
	}
}

func TestEntriesAreWrittenInTheirOrderAlsoAfterAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &rows{failing: true}
		l := audit.New(store, time.Hour, zerolog.New(io.Discard))
		stop := run(t, l)
		for i := range 1000 {
			l.Record(audit.Entry{Status: i})
		}
		time.Sleep(time.Minute) //nolint:forbidigo // synthetic time
		store.setFailing(false)
		time.Sleep(2 * time.Second) //nolint:forbidigo // synthetic time
		synctest.Wait()
		store.mu.Lock()
		if len(store.written) != 1000 {
			t.Errorf("%d entries are written", len(store.written))
		}
		store.mu.Unlock()
		l.Record(audit.Entry{Status: 1000})
		stop()
		for i, e := range store.written {
			if e.Status != i {
				t.Fatalf("entry %d is at %d", e.Status, i)
			}
		}
		if len(store.written) != 1001 {
			t.Errorf("%d entries are written after the end", len(store.written))
		}
	})
}

func TestAnEntryThatCannotBeStoredIsInTheLogOfTheService(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var lines strings.Builder
		store := &rows{failing: true}
		l := audit.New(store, time.Hour, zerolog.New(zerolog.SyncWriter(&lines)))
		for i := range audit.MaxQueued {
			l.Record(audit.Entry{Object: fmt.Sprintf("/jobs/%d", i)})
		}
		l.Record(audit.Entry{Object: "/jobs/beyond"})
		if got := strings.Count(lines.String(), "audit entry not stored"); got != 1 || !strings.Contains(lines.String(), "/jobs/beyond") {
			t.Errorf("%d entries are logged: %.300s", got, lines.String())
		}
		run(t, l)()
		if got := strings.Count(lines.String(), "audit entry not stored"); got != audit.MaxQueued+1 {
			t.Errorf("%d entries are logged at the end", got)
		}
	})
}

func TestEntriesAreDeletedAfterTheirRetention(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &rows{}
		stop := run(t, audit.New(store, 48*time.Hour, zerolog.New(io.Discard)))
		time.Sleep(time.Hour + time.Minute) //nolint:forbidigo // synthetic time
		synctest.Wait()
		stop()
		if want := time.Now().Add(-48*time.Hour - time.Minute); !store.deleted.Equal(want) {
			t.Errorf("deleted are the entries from before %v, want %v", store.deleted, want)
		}
	})
}

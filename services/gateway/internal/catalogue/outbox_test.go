package catalogue

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/wait"
)

// memory is an outbox and its publisher. failures is the number of publications that fail.
type memory struct {
	pending   []int64
	published []int64
	failures  int
	reads     []time.Duration // the times of the reads of the outbox, since start
	start     time.Time
}

var errAway = errors.New("away")

func (m *memory) Pending(_ context.Context, limit int) ([]int64, error) {
	m.reads = append(m.reads, time.Since(m.start))
	return slices.Clone(m.pending[:min(limit, len(m.pending))]), nil
}

func (m *memory) MarkPublished(_ context.Context, token int64) error {
	m.pending = slices.DeleteFunc(m.pending, func(other int64) bool { return other == token })
	return nil
}

func (m *memory) Publish(_ context.Context, e event.Event) error {
	if m.failures > 0 {
		m.failures--
		return errAway
	}
	m.published = append(m.published, e.(event.TokenDeleted).TokenID)
	return nil
}

func tokens(n int) []int64 {
	all := make([]int64, n)
	for i := range all {
		all[i] = int64(i + 1)
	}
	return all
}

func TestEveryPendingDeletionIsPublishedOnceAndInOrder(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, outboxBatch - 1, outboxBatch, outboxBatch + 1, 3 * outboxBatch} {
		m := &memory{pending: tokens(n)}
		if err := NewRelay(m, m, zerolog.Nop()).PublishPending(t.Context()); err != nil {
			t.Errorf("%d: %v", n, err)
		}
		if !slices.Equal(m.published, tokens(n)) || len(m.pending) > 0 {
			t.Errorf("%d: published %v, left %v", n, m.published, m.pending)
		}
	}
}

func TestADeletionThatCannotBePublishedStaysPending(t *testing.T) {
	t.Parallel()
	m := &memory{pending: tokens(2), failures: 1}
	relay := NewRelay(m, m, zerolog.Nop())
	if err := relay.PublishPending(t.Context()); !errors.Is(err, errAway) || len(m.pending) != 2 || len(m.published) != 0 {
		t.Errorf("published %v, left %v: %v", m.published, m.pending, err)
	}
	if err := relay.PublishPending(t.Context()); err != nil || !slices.Equal(m.published, tokens(2)) {
		t.Errorf("published %v: %v", m.published, err)
	}
}

func TestTheOutboxIsReadEverySecondAndAfterAFailureLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &memory{pending: tokens(1), failures: 1, start: time.Now()}
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second-time.Millisecond)
		defer cancel()
		if err := NewRelay(m, m, zerolog.Nop()).Run(ctx); err != nil {
			t.Error(err)
		}
		if want := []time.Duration{0, 5 * time.Second, 6 * time.Second, 7 * time.Second}; !slices.Equal(m.reads, want) {
			t.Errorf("read at %v, want %v", m.reads, want)
		}
		if err := wait.For(t.Context(), time.Hour); err != nil || len(m.reads) != 4 {
			t.Errorf("read after its end: %v, %v", m.reads, err)
		}
	})
}

package job_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/event"
)

// history returns the events as entries, with ascending sequences and times.
func history(events ...event.Event) []job.Entry {
	entries := make([]job.Entry, len(events))
	for i, e := range events {
		entries[i] = job.Entry{Event: e, Seq: uint64(10 + i), Time: began.Add(time.Duration(i) * time.Second)}
		if c, ok := e.(event.Completed); ok {
			entries[i].Result = job.Result(c.Result)
		}
	}
	return entries
}

func received() event.Event {
	return event.Received{JobID: id, TokenID: 7, FileName: "녹음.wav", MediaType: "audio/wav", Size: 1000, SHA256: "ab", Chunks: 1, Owner: "alice"}
}

func uploading(n int64) event.Event { return event.Uploading{JobID: id, Bytes: n, Size: 1000} }

func fetching(attempt int, n int64) event.Event {
	return event.Fetching{JobID: id, Attempt: attempt, Bytes: n, Size: 1000, Try: 1}
}

func stored() event.Event {
	return event.Stored{JobID: id, TokenID: 7, Bucket: "b", Key: "k", MediaType: "audio/x-wav", Size: 1001, SHA256: "cd", Duration: 3.5}
}

func attempted(n int) event.Event { return event.Attempted{JobID: id, Attempt: n} }

func dispatched(n int) event.Event {
	return event.Dispatched{JobID: id, Attempt: n, AnalysisJobID: fmt.Sprintf("a-%d", n)}
}

func progressed(n, percent int, message string) event.Event {
	return event.Progressed{JobID: id, Attempt: n, Percent: percent, Message: message}
}

func completed(n int) event.Event {
	return event.Completed{JobID: id, Attempt: n, Result: json.RawMessage(`{"score":1}`), Warnings: []string{"non-finite-numbers"}}
}

func failed(n int) event.Event {
	return event.Failed{JobID: id, Attempt: n, Code: "analysis-failed", Detail: "no speech", Retryable: true}
}

func retried(n int) event.Event { return event.Retried{JobID: id, Attempt: n} }

func lapsed(n int) event.Event { return event.Lapsed{JobID: id, Attempt: n} }

// waiting returns a waiting event of attempt n, which ends the given number of minutes after the
// job began.
func waiting(n, minutes int) event.Event {
	return event.Waiting{JobID: id, Attempt: n, Until: began.Add(time.Duration(minutes) * time.Minute), Code: "analysis-unavailable"}
}

func canceled() event.Event { return event.Canceled{JobID: id} }

func erased() event.Event { return event.Erased{JobID: id} }

// table is a stub of the database with one row. Like the database, it merges without reading the
// result.
type table struct {
	row    job.Record
	result job.Result
}

func (t *table) merge(entries ...job.Entry) bool {
	t.row.Result = ""
	changed := t.row.Merge(entries)
	if t.row.Result != "" {
		t.result = t.row.Result
	}
	if t.row.Status == job.Erased {
		t.result = ""
	}
	t.row.Result = t.result
	return changed
}

// final returns the record without the fields that depend on the order in which events were merged.
func (t *table) final() job.Record {
	r := t.row
	r.Version, r.UpdatedAt = 0, time.Time{}
	if r.Status == job.Erased { // a tombstone keeps the progress that the record had when it was erased
		r.Progress = 0
	}
	return r
}

func play(entries []job.Entry) *table {
	t := &table{row: job.New(id)}
	for _, e := range entries {
		t.merge(e)
	}
	return t
}

// shuffled merges the entries in a random order and in random batches, some of them twice. It
// checks the invariants after each batch.
func shuffled(t *testing.T, rnd *rand.Rand, entries []job.Entry) *table {
	t.Helper()
	var deck []job.Entry
	for _, e := range entries {
		for range 1 + rnd.IntN(2) {
			deck = append(deck, e)
		}
	}
	rnd.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
	got := &table{row: job.New(id)}
	for len(deck) > 0 {
		n := 1 + rnd.IntN(len(deck))
		before := got.row
		got.merge(deck[:n]...)
		deck = deck[n:]
		check(t, before, got.row)
	}
	return got
}

func check(t *testing.T, before, after job.Record) {
	t.Helper()
	visible := func(r job.Record) job.Snapshot {
		s := r.Snapshot
		s.Version, s.UpdatedAt = 0, time.Time{}
		return s
	}
	grew := after.Version - before.Version
	switch {
	case after.CreatedAt.IsZero() && after.Version != 0:
		t.Fatalf("a record without its beginning has version %d", after.Version)
	case after.CreatedAt.IsZero():
		return
	case grew != 0 && grew != 1:
		t.Fatalf("the version grew by %d", grew)
	case (grew == 1) != (visible(after) != visible(before)):
		t.Fatalf("the version grew by %d from %+v to %+v", grew, before, after)
	case grew == 0 && after.UpdatedAt != before.UpdatedAt:
		t.Fatalf("one version, two times: %v and %v", before.UpdatedAt, after.UpdatedAt)
	case after.Status == job.Erased && after.Progress >= before.Progress:
		return
	case after.ProgressAttempt < before.ProgressAttempt:
		t.Fatalf("attempt %d came after %d", after.ProgressAttempt, before.ProgressAttempt)
	case after.ProgressAttempt == before.ProgressAttempt && after.Progress < before.Progress:
		t.Fatalf("progress fell from %d to %d", before.Progress, after.Progress)
	}
}

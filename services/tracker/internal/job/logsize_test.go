package job_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/event"
)

// sized sets a different size for each entry.
func sized(entries []job.Entry) []job.Entry {
	for i := range entries {
		entries[i].Size = 100 + int64(i)
	}
	return entries
}

// many returns n progress events of a job.
func many(n int) []job.Entry {
	events := make([]event.Event, n)
	for i := range events {
		events[i] = progressed(1, i%100, "")
	}
	return sized(history(events...))
}

func sizes(entries []job.Entry) (sum int64) {
	for _, e := range entries {
		sum += e.Size
	}
	return sum
}

func TestTheSizeOfAnEventIsCountedOnceHoweverOftenAndInWhateverOrderItIsMerged(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 8, 31, 32} {
		entries := many(n)
		rnd := rand.New(rand.NewPCG(uint64(n), 1))
		for range 50 {
			deck := append(append([]job.Entry(nil), entries...), entries...)
			rnd.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
			r := job.New(id)
			for len(deck) > 0 {
				k := 1 + rnd.IntN(len(deck))
				r.Merge(deck[:k])
				deck = deck[k:]
			}
			if want := sizes(entries); r.LogBytes != want {
				t.Fatalf("%d events: %d bytes, want %d", n, r.LogBytes, want)
			}
		}
	}
}

func TestAReplayOfALongLogIsNotCounted(t *testing.T) {
	t.Parallel()
	entries := many(500)
	r := job.New(id)
	for _, e := range entries {
		r.Merge([]job.Entry{e})
	}
	counted := r
	for range 2 {
		for _, e := range entries {
			r.Merge([]job.Entry{e})
		}
	}
	if want := sizes(entries); counted.LogBytes != want || r.LogBytes != want || r.LogSeqs != counted.LogSeqs || len(r.LogSeqs) > 200 {
		t.Errorf("%d bytes, and %d after the replay, want %d; %q", counted.LogBytes, r.LogBytes, want, r.LogSeqs)
	}
}

func TestAnEventThatWasReadFromTheLogIsCountedWhenItIsDelivered(t *testing.T) {
	t.Parallel()
	entries := sized(history(received(), canceled()))
	read := entries[1]
	read.Size = 0
	r := job.New(id)
	r.Merge(entries[:1])
	r.Merge([]job.Entry{read})
	if r.Status != job.Canceled || r.LogBytes != entries[0].Size {
		t.Errorf("read: %s, %d bytes", r.Status, r.LogBytes)
	}
	version := r.Version
	if r.Merge(entries[1:]); r.LogBytes != sizes(entries) || r.Version != version {
		t.Errorf("delivered: %d bytes, version %d after %d", r.LogBytes, r.Version, version)
	}
}

func TestTheLogOfAnErasedJobHasOnlyErased(t *testing.T) {
	t.Parallel()
	entries := sized(history(received(), stored(), event.Erased{JobID: id}))
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {0, 2, 1, 2}, {2, 0, 2, 1}} {
		r := job.New(id)
		for _, i := range order {
			r.Merge(entries[i : i+1])
		}
		if want := entries[2].Size; r.LogBytes != want {
			t.Errorf("%v: %d bytes, want %d", order, r.LogBytes, want)
		}
	}
}

// While the analysis server is unavailable, a job has such an event each minute, and the stream soon
// removes it.
func TestAWaitingEventWithATimeIsNotCounted(t *testing.T) {
	t.Parallel()
	now := time.Now()
	entries := sized(history(
		event.Waiting{JobID: id, Attempt: 1, Until: now, Code: "c"}, event.Waiting{JobID: id, Attempt: 1, Since: now, Code: "c"},
	))
	r := job.New(id)
	r.Merge(entries)
	if r.LogBytes != entries[1].Size {
		t.Errorf("%d bytes, want %d", r.LogBytes, entries[1].Size)
	}
}

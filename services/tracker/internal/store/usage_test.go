package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/services/tracker/internal/query"
	"sori.internal/services/tracker/internal/store"
	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// owner is the owner of the jobs that history makes.
const owner = "auth0|앨리스"

// uses checks the usage of an owner, with the log bytes of jobs created since 2 January 2026, when
// the jobs of history were created.
func uses(t *testing.T, kit *testkit.Kit, s *store.Store, of string, want query.Usage) {
	t.Helper()
	got, err := s.Usage(kit.Context(), of, time.Date(2026, 1, 2, 23, 0, 0, 0, time.UTC), nil)
	got.Recorded = nil
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s uses %+v, want %+v, %v", of, got, want, err)
	}
}

// bytesOf returns the sum of the sizes of the first n events of history, without those that the stream
// removes soon, which are not counted.
func bytesOf(n int) (sum int64) {
	for _, e := range history("", 1)[:n] {
		if event.Lifetime(e.Event, e.Time) == 0 {
			sum += e.Size
		}
	}
	return sum
}

func TestTheUsageOfAnOwnerFollowsTheStagesOfItsJobs(t *testing.T) {
	t.Parallel()
	kit, stores := open(t)
	id := newJob(t)
	entries := history(id, 1)
	merge := func(e ...job.Entry) {
		t.Helper()
		for _, s := range []int{0, 1, 0} { // each event is delivered three times, to both replicas
			if _, err := stores[s].Merge(kit.Context(), grouped(e)); err != nil {
				t.Fatal(err)
			}
		}
	}
	uses(t, kit, stores[0], owner, query.Usage{})
	merge(entries[0])
	uses(t, kit, stores[1], owner, query.Usage{Jobs: 1, StagedBytes: 1000, LogBytes: bytesOf(1)})
	merge(entries[1])
	uses(t, kit, stores[1], owner, query.Usage{Jobs: 1, StagedBytes: 1000, LogBytes: bytesOf(2)})
	merge(entries[2])
	uses(t, kit, stores[1], owner, query.Usage{Jobs: 1, StoredBytes: 1000, LogBytes: bytesOf(3)})
	merge(entries[3:]...)
	uses(t, kit, stores[1], owner, query.Usage{Jobs: 1, StoredBytes: 1000, LogBytes: bytesOf(len(entries))})
	merge(job.Entry{Event: event.Expired{JobID: id}, Seq: 50, Time: time.Now(), Size: 7})
	uses(t, kit, stores[1], owner, query.Usage{Jobs: 1, LogBytes: bytesOf(len(entries)) + 7})
	uses(t, kit, stores[1], "another", query.Usage{})
	merge(job.Entry{Event: event.Erased{JobID: id}, Seq: 51, Time: time.Now(), Size: 9})
	uses(t, kit, stores[1], owner, query.Usage{LogBytes: 9})
	merge(entries...)
	uses(t, kit, stores[1], owner, query.Usage{LogBytes: 9})
}

func TestAnUploadThatFailsOrIsCanceledIsNoLongerStaged(t *testing.T) {
	t.Parallel()
	kit, stores := open(t)
	for jobs, end := range []func(id string) event.Event{
		func(id string) event.Event { return event.Canceled{JobID: id} },
		func(id string) event.Event { return event.Failed{JobID: id, Code: "staging-lost"} },
	} {
		id := newJob(t)
		entries := append(history(id, 1)[:2], job.Entry{Event: end(id), Seq: 3, Time: time.Now()})
		if _, err := stores[0].Merge(kit.Context(), grouped(entries)); err != nil {
			t.Fatal(err)
		}
		uses(t, kit, stores[0], owner, query.Usage{Jobs: int64(jobs) + 1, LogBytes: int64(jobs+1) * bytesOf(2)})
	}
}

func TestTheLogsOfEarlierDaysAreNotCounted(t *testing.T) {
	t.Parallel()
	kit, stores := open(t)
	entries := history(newJob(t), 1)
	if _, err := stores[0].Merge(kit.Context(), grouped(entries)); err != nil {
		t.Fatal(err)
	}
	got, err := stores[0].Usage(kit.Context(), owner, time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC), nil)
	if err != nil || got.LogBytes != 0 || got.StoredBytes != 1000 || got.Jobs != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestJobsWithoutAnOwnerAreNotCounted(t *testing.T) {
	t.Parallel()
	kit, stores := open(t)
	entries := history(newJob(t), 1)
	entries[0].Event = event.Received{JobID: entries[0].Event.Job(), TokenID: 7, Size: 1000}
	if _, err := stores[0].Merge(kit.Context(), grouped(entries)); err != nil {
		t.Fatal(err)
	}
	uses(t, kit, stores[0], "", query.Usage{})
}

// Two replicas concurrently merge the jobs of two owners, repeatedly, in any order and in any
// batches. The usage of each owner must be the sum over the rows.
func TestTheUsageIsTheSumOfTheRowsWhateverTheOrder(t *testing.T) {
	t.Parallel()
	kit, stores := open(t)
	var all []job.Entry
	for i := range 40 {
		id := newJob(t)
		entries := history(id, uint64(100*i+1))
		if i%2 == 1 {
			received, _ := entries[0].Event.(event.Received)
			received.Owner = "bob"
			entries[0].Event = received
		}
		all = append(all, entries...)
		if i%4 == 3 {
			all = append(all, job.Entry{Event: event.Erased{JobID: id, Owner: "bob"}, Seq: uint64(100*i + 50), Time: entries[0].Time, Size: 9})
		}
	}
	mergeInAnyOrder(t, kit, stores, all, 5)
	each := bytesOf(len(history("", 1)))
	uses(t, kit, stores[0], owner, query.Usage{Jobs: 20, StoredBytes: 20_000, LogBytes: 20 * each})
	uses(t, kit, stores[0], "bob", query.Usage{Jobs: 10, StoredBytes: 10_000, LogBytes: 10*each + 10*9})
}

func TestTheUsageTellsWhichJobsItContains(t *testing.T) {
	t.Parallel()
	kit, stores := open(t)
	recorded, unrecorded, another := newJob(t), newJob(t), newJob(t)
	bobs := history(another, 100)
	received, _ := bobs[0].Event.(event.Received)
	received.Owner = "bob"
	bobs[0].Event = received
	entries := slices.Concat(history(recorded, 1), bobs, history(unrecorded, 200)[1:])
	if _, err := stores[0].Merge(kit.Context(), grouped(entries)); err != nil {
		t.Fatal(err)
	}
	u, err := stores[0].Usage(kit.Context(), owner, time.Time{}, []string{recorded, unrecorded, another, newJob(t)})
	if err != nil || !slices.Equal(u.Recorded, []string{recorded}) || u.Jobs != 1 {
		t.Errorf("%+v, %v", u, err)
	}
}

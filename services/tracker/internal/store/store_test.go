package store_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/services/tracker/internal/store"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/postgres"
	"sori.internal/shared/principal"
	"sori.internal/shared/testkit"
)

// open makes a new database and two stores on it, which stand for two replicas.
func open(t testing.TB) (*testkit.Kit, [2]*store.Store) {
	t.Helper()
	kit := testkit.New(t)
	kit.MigratedDatabase()
	var cfg postgres.Config
	kit.Load(&cfg)
	migrations, err := store.Migrations()
	if err != nil {
		t.Fatal(err)
	}
	var stores [2]*store.Store
	for i := range stores {
		db := pool(t, cfg)
		if err := postgres.Migrate(kit.Context(), db, store.Schema, migrations); err != nil {
			t.Fatal(err)
		}
		stores[i] = store.New(db)
	}
	return kit, stores
}

func pool(t testing.TB, cfg postgres.Config) *sqlx.DB {
	t.Helper()
	db, err := postgres.Open(cfg, store.Schema)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func newJob(t testing.TB) string {
	t.Helper()
	id, err := event.NewJobID()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// history returns the events of a completed job as entries, with ascending sequences from first.
func history(id string, first uint64) []job.Entry {
	began := time.Date(2026, 1, 2, 3, 4, 5, 123456789, time.UTC)
	events := []event.Event{
		event.Received{JobID: id, Owner: "auth0|앨리스", TokenID: 7, FileName: "a'b\"c\\d,{}.wav", MediaType: "audio/wav", Size: 1000, SHA256: "ab"},
		event.Uploading{JobID: id, Bytes: 500, Size: 1000},
		event.Stored{JobID: id, TokenID: 7, Bucket: "b", Key: "k", MediaType: "audio/wav", Size: 1000, SHA256: "ab", Duration: 2.5},
		event.Attempted{JobID: id, Attempt: 1},
		event.Waiting{JobID: id, Attempt: 1, Since: began},
		event.Waiting{JobID: id, Attempt: 1, Until: began.Add(time.Minute)},
		event.Dispatched{JobID: id, Attempt: 1, AnalysisJobID: "NULL"},
		event.Progressed{JobID: id, Attempt: 1, Percent: 50, Message: "음높이"},
		event.Attempted{JobID: id, Attempt: 2},
		event.Dispatched{JobID: id, Attempt: 2},
		event.Completed{JobID: id, Attempt: 2, Result: json.RawMessage(`{"text": "a\u0000b", "more": [1, "}"]}`), Warnings: []string{"no-results", "non-finite-numbers"}},
	}
	entries := make([]job.Entry, len(events))
	for i, e := range events {
		entries[i] = job.Entry{Event: e, Seq: first + uint64(i), Time: began.Add(time.Duration(i) * time.Second), Size: 100 + int64(i)}
		if c, ok := e.(event.Completed); ok {
			entries[i].Result = job.Result(c.Result)
		}
	}
	return entries
}

func grouped(entries []job.Entry) map[string][]job.Entry {
	news := map[string][]job.Entry{}
	for _, e := range entries {
		news[e.Event.Job()] = append(news[e.Event.Job()], e)
	}
	return news
}

func TestARecordIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	kit, stores := open(t)
	id := newJob(t)
	row := job.New(id)
	for _, e := range history(id, 1) {
		row.Merge([]job.Entry{e})
		changes, err := stores[0].Merge(kit.Context(), map[string][]job.Entry{id: {e}})
		if err != nil {
			t.Fatal(err)
		}
		found, ok, err := stores[1].Find(kit.Context(), id)
		if err != nil || !ok || found != row.Snapshot {
			t.Fatalf("after %s:\n got %+v, %v\nwant %+v", e.Event.Name(), found, err, row.Snapshot)
		}
		if visible := e.Event.Name() != event.NameAttempted; visible != (len(changes.Grown) == 1) {
			t.Errorf("after %s %d versions are told", e.Event.Name(), len(changes.Grown))
		}
		if ended := e.Event.Name() == event.NameCompleted; ended != (len(changes.Ended) == 1) {
			t.Errorf("after %s %d jobs have ended", e.Event.Name(), len(changes.Ended))
		}
		again, err := stores[1].Merge(kit.Context(), map[string][]job.Entry{id: {e}})
		if err != nil || len(again.Grown)+len(again.Ended) != 0 {
			t.Errorf("%s again: %+v, %v", e.Event.Name(), again, err)
		}
	}
}

func TestAFailureIsStoredWithItsReason(t *testing.T) {
	t.Parallel()
	kit, stores := open(t)
	id := newJob(t)
	entries := append(history(id, 1)[:1], job.Entry{Event: event.Failed{JobID: id, Code: "c", Detail: `d "e"`, Retryable: true}, Seq: 2, Time: time.Now()})
	if _, err := stores[0].Merge(kit.Context(), grouped(entries)); err != nil {
		t.Fatal(err)
	}
	s, _, err := stores[0].Find(kit.Context(), id)
	if err != nil || s.Status != job.Failed || s.Error != (job.Failure{Code: "c", Detail: `d "e"`, Retryable: true}) {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestARecordIsNotFoundBeforeReceived(t *testing.T) {
	t.Parallel()
	kit, stores := open(t)
	id := newJob(t)
	entries := history(id, 1)
	changes, err := stores[0].Merge(kit.Context(), grouped(entries[1:]))
	if err != nil || len(changes.Grown) != 0 || len(changes.Ended) != 1 {
		t.Fatalf("%+v, %v", changes, err)
	}
	if _, found, err := stores[0].Find(kit.Context(), id); err != nil || found {
		t.Errorf("found %v, %v", found, err)
	}
	changes, err = stores[1].Merge(kit.Context(), grouped(entries[:1]))
	if grown := changes.Grown; err != nil || len(grown) != 1 || grown[0].Version != 1 || grown[0].Status != job.Completed || len(changes.Ended) != 0 {
		t.Errorf("%+v, %v", changes, err)
	}
	if s, found, err := stores[0].Find(kit.Context(), id); err != nil || !found || s.Result == "" {
		t.Errorf("%+v, %v, %v", s, found, err)
	}
}

func TestTheRowOfAnErasedJobIsATombstone(t *testing.T) {
	t.Parallel()
	kit, stores := open(t)
	for name, order := range map[string]func(history, erasure []job.Entry) [2][]job.Entry{
		"at the end":      func(history, erasure []job.Entry) [2][]job.Entry { return [2][]job.Entry{history, erasure} },
		"before all else": func(history, erasure []job.Entry) [2][]job.Entry { return [2][]job.Entry{erasure, history} },
		"all at once":     func(history, erasure []job.Entry) [2][]job.Entry { return [2][]job.Entry{append(history, erasure...)} },
		"before the facts": func(history, erasure []job.Entry) [2][]job.Entry {
			return [2][]job.Entry{append(history[:1:1], erasure...), history[1:]}
		},
	} {
		id := newJob(t)
		for _, part := range order(history(id, 1), []job.Entry{{Event: event.Erased{JobID: id}, Seq: 11, Time: time.Now()}}) {
			if _, err := stores[0].Merge(kit.Context(), grouped(part)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		s, found, err := stores[0].Find(kit.Context(), id)
		if err != nil || !found || s.Status != job.Erased || s.TokenID != 7 || s.Owner != "auth0|앨리스" || s.Result != "" || s.Message != "" {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}

func TestAJobIsFoundForItsOwnerAndForAdminsOnly(t *testing.T) {
	t.Parallel()
	kit, stores := open(t)
	owned, ownerless, unseen := newJob(t), newJob(t), newJob(t)
	entries := append(history(owned, 1), history(ownerless, 100)...)
	entries[0].Event = event.Received{JobID: owned, TokenID: 7, Owner: "alice"}
	entries[len(entries)/2].Event = event.Received{JobID: ownerless, TokenID: 7}
	entries = append(entries, history(unseen, 200)[1:]...)
	if _, err := stores[0].Merge(kit.Context(), grouped(entries)); err != nil {
		t.Fatal(err)
	}
	user := func(owner string) principal.Principal {
		return principal.Principal{Owner: owner, Scopes: principal.UserScopes()}
	}
	for _, c := range []struct {
		p     principal.Principal
		id    string
		found bool
	}{
		{user("alice"), owned, true}, {user("bob"), owned, false}, {user(""), owned, false}, {user("ALICE"), owned, false}, {principal.Open(), owned, true},
		{user("alice"), ownerless, false}, {user(""), ownerless, false}, {principal.Open(), ownerless, true},
		{principal.Open(), unseen, false}, {principal.Open(), newJob(t), false}, {principal.Principal{}, owned, false},
	} {
		status, found, err := stores[1].StatusFor(kit.Context(), c.p, c.id)
		if err != nil || found != c.found || found && status != job.Completed {
			t.Errorf("%+v: %s, %v, %v", c.p, status, found, err)
		}
	}
}

func TestDeletedTokensAreStoredAndTheirJobsFound(t *testing.T) {
	t.Parallel()
	kit, stores := open(t)
	jobs := map[string]bool{}
	for i := range 6 {
		id := newJob(t)
		entries := []job.Entry{{Event: event.Received{JobID: id, TokenID: int64(7 + i%2)}, Seq: uint64(2*i + 1), Time: time.Now()}}
		if i < 2 {
			entries = append(entries, job.Entry{Event: event.Erased{JobID: id}, Seq: uint64(2*i + 2), Time: time.Now()})
		} else if i%2 == 0 {
			jobs[id] = true
		}
		if _, err := stores[0].Merge(kit.Context(), grouped(entries)); err != nil {
			t.Fatal(err)
		}
	}
	found, err := stores[1].JobsOf(kit.Context(), 7, 10)
	if err != nil || len(found) != len(jobs) || !jobs[found[0]] || !jobs[found[1]] {
		t.Errorf("%v %v, want %v", found, err, jobs)
	}
	if found, err := stores[1].JobsOf(kit.Context(), 7, 1); err != nil || len(found) != 1 {
		t.Errorf("%v %v", found, err)
	}
	for range 2 {
		if err := stores[0].Delete(kit.Context(), 7, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if deleted, err := stores[1].Deleted(kit.Context(), []int64{6, 7, 8}); err != nil || len(deleted) != 1 || deleted[0] != 7 {
		t.Errorf("%v %v", deleted, err)
	}
}

// mergeInAnyOrder merges the entries eight times concurrently, with two stores. Each time the order
// and the sizes of the batches are different.
func mergeInAnyOrder(t *testing.T, kit *testkit.Kit, stores [2]*store.Store, all []job.Entry, seed uint64) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range 8 {
		rnd := rand.New(rand.NewPCG(uint64(i), seed))
		wg.Go(func() {
			deck := slices.Clone(all)
			rnd.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
			for len(deck) > 0 {
				n := min(len(deck), 1+rnd.IntN(60))
				if _, err := stores[i%2].Merge(kit.Context(), grouped(deck[:n])); err != nil {
					t.Error(err)
					return
				}
				deck = deck[n:]
			}
		})
	}
	wg.Wait()
}

func TestReplicasMayCommitInAnyOrder(t *testing.T) {
	t.Parallel()
	kit, stores := open(t)
	var all []job.Entry
	want := map[string]job.Snapshot{}
	for i := range 40 {
		id := newJob(t)
		entries := history(id, uint64(100*i+1))
		all = append(all, entries...)
		row := job.New(id)
		row.Merge(entries)
		want[id] = row.Snapshot
	}
	mergeInAnyOrder(t, kit, stores, all, 3)
	for id, w := range want {
		got, found, err := stores[0].Find(kit.Context(), id)
		if got.Version < 1 || got.Version > 8 {
			t.Errorf("job %s has version %d", id, got.Version)
		}
		got.Version, got.UpdatedAt = w.Version, w.UpdatedAt
		if err != nil || !found || got != w {
			t.Fatalf("%v\n got %+v\nwant %+v", err, got, w)
		}
	}
}

// Two replicas take turns to merge events of one job. At each turn, the record in the memory of the
// replica is older than the row, and must be read again.
func TestARecordThatAnotherReplicaHasWrittenSinceIsReadAgain(t *testing.T) {
	t.Parallel()
	kit, stores := open(t)
	id := newJob(t)
	entries := history(id, 1)
	for i, e := range entries {
		changes, err := stores[i/2%2].Merge(kit.Context(), grouped([]job.Entry{e})) // each replica merges two events in a row
		want := job.New(id)
		for _, earlier := range entries[:i+1] {
			want.Merge([]job.Entry{earlier})
		}
		if err != nil || len(changes.Grown) > 0 && changes.Grown[0].Version != want.Version {
			t.Errorf("event %d: %+v, want version %d, %v", i, changes, want.Version, err)
		}
		if got, _, err := stores[0].Find(kit.Context(), id); err != nil || got != want.Snapshot {
			t.Errorf("event %d: %v\n got %+v\nwant %+v", i, err, got, want.Snapshot)
		}
	}
}

func TestAValueThatTheDatabaseRefusesIsInvalid(t *testing.T) {
	t.Parallel()
	kit, stores := open(t)
	for name, e := range map[string]event.Event{
		"nul":      event.Received{JobID: newJob(t), FileName: "a\x00"},
		"bytes":    event.Received{JobID: newJob(t), FileName: "a\xff"},
		"negative": event.Received{JobID: newJob(t), Size: -1},
		"large":    event.Attempted{JobID: newJob(t), Attempt: 1 << 33},
	} {
		good := newJob(t)
		news := grouped(append(history(good, 1), job.Entry{Event: e, Seq: 99, Time: time.Now()}))
		if _, err := stores[0].Merge(kit.Context(), news); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
		if _, found, err := stores[0].Find(kit.Context(), good); found || err != nil {
			t.Errorf("%s: half of a batch was kept, %v", name, err)
		}
	}
}

func TestADatabaseThatIsNotMigratedIsUnavailable(t *testing.T) {
	t.Parallel()
	kit := testkit.New(t)
	kit.Database()
	var cfg postgres.Config
	kit.Load(&cfg)
	s := store.New(pool(t, cfg))
	if _, _, err := s.Find(kit.Context(), newJob(t)); !fault.Is(err, fault.Unavailable) {
		t.Error(err)
	}
}

func BenchmarkMerge(b *testing.B) {
	for _, size := range []int{64, 512} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			kit, stores := open(b)
			var batch []job.Entry
			events := 0
			for b.Loop() {
				batch = batch[:0]
				for i := 0; len(batch) < size; i++ {
					batch = append(batch, history(newJob(b), uint64(events+100*i+1))...)
				}
				events += len(batch)
				if _, err := stores[0].Merge(kit.Context(), grouped(batch)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

package job_test

import (
	"math/rand/v2"
	"testing"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/event"
)

func TestEachEndIsCountedOnceWhateverTheOrder(t *testing.T) {
	t.Parallel()
	for name, entries := range map[string][]job.Entry{
		"completed": history(received(), stored(), attempted(1), dispatched(1), completed(1), progressed(1, 70, "late")),
		"failed":    history(received(), uploading(300), failed(0)),
		"canceled":  history(received(), stored(), canceled()),
		"expired":   history(received(), stored(), attempted(1), completed(1), event.Expired{JobID: id}),
		"erased":    history(received(), stored(), erased()),
	} {
		for seed := range uint64(200) {
			if n := ends(rand.New(rand.NewPCG(seed, 2)), entries); n != 1 {
				t.Errorf("%s: counted %d times", name, n)
				break
			}
		}
	}
	running := history(received(), stored(), attempted(1), dispatched(1), progressed(1, 20, ""), lapsed(1))
	if n := ends(rand.New(rand.NewPCG(1, 2)), running); n != 0 {
		t.Errorf("a running job: counted %d times", n)
	}
}

// ends merges the entries in a random order, one after the other and each one twice. It returns how
// often the job has ended.
func ends(rnd *rand.Rand, entries []job.Entry) (n int) {
	deck := append(entries[:len(entries):len(entries)], entries...)
	rnd.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
	row := job.New(id)
	for _, e := range deck {
		before := row
		row.Merge([]job.Entry{e})
		if row.EndedSince(&before) {
			n++
		}
	}
	return n
}

func TestARetriedJobEndsAgain(t *testing.T) {
	t.Parallel()
	entries := history(received(), stored(), attempted(1), failed(1), retried(2), attempted(2), completed(2), erased())
	for _, c := range []struct {
		name    string
		batches [][]job.Entry
		want    int
	}{
		{"event by event", [][]job.Entry{entries[:3], entries[3:4], entries[4:5], entries[5:6], entries[6:7], entries[7:]}, 2},
		{"the retry with the second end", [][]job.Entry{entries[:4], entries[4:7], entries[7:]}, 2},
		{"the retry after the second end", [][]job.Entry{entries[:4], entries[6:7], entries[4:6], entries[7:]}, 2},
		{"every event twice", [][]job.Entry{entries[:4], entries[:4], entries[4:7], entries[3:7], entries[7:], entries}, 2},
		{"both ends in one batch", [][]job.Entry{entries[:7], entries[7:]}, 1},
		{"the second end with the erasure", [][]job.Entry{entries[:4], entries[4:]}, 1},
	} {
		row, n := job.New(id), 0
		for _, batch := range c.batches {
			before := row
			row.Merge(batch)
			if row.EndedSince(&before) {
				n++
			}
		}
		if n != c.want {
			t.Errorf("%s: counted %d times, want %d", c.name, n, c.want)
		}
	}
}

func TestAnErasureOfAnEndedJobIsNoEnd(t *testing.T) {
	t.Parallel()
	for _, end := range []event.Event{completed(1), failed(1), canceled()} {
		row := job.New(id)
		row.Merge(history(received(), end))
		before := row
		row.Merge(history(received(), end, erased())[2:])
		if row.Status != job.Erased || row.EndedSince(&before) {
			t.Errorf("%s, then erased: %s is an end", end.Name(), row.Status)
		}
	}
}

func TestTheReplayOfAnEndInPlaceOfItsPlaceholderIsNoEnd(t *testing.T) {
	t.Parallel()
	row := job.New(id)
	end := history(received(), event.Failed{JobID: id, Code: event.CodeUnprojectable})
	row.Merge(end)
	before := row
	end[1].Event = completed(1)
	row.Merge(end)
	if row.Status != job.Completed || row.EndedSince(&before) {
		t.Errorf("%s is an end", row.Status)
	}
}

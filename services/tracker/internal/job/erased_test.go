package job_test

import (
	"slices"
	"testing"
	"time"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/event"
)

func TestATombstoneHoldsOnlyOwnerTokenAndTimeOfCreation(t *testing.T) {
	t.Parallel()
	whole := history(received(), stored(), attempted(1), dispatched(1), progressed(1, 50, "pitch"), completed(1), erased())
	want := job.New(id)
	want.Owner, want.TokenID, want.CreatedAt, want.StateSeq = "alice", 7, whole[0].Time.Truncate(time.Microsecond), whole[len(whole)-1].Seq
	want.Status, want.Stage = job.Erased, job.StageErased
	if got := play(whole).final(); got != want {
		t.Errorf(" got %+v\nwant %+v", got, want)
	}
	end := whole[len(whole)-1]
	want.Owner, want.TokenID, want.CreatedAt = "", 0, end.Time.Truncate(time.Microsecond)
	unseen := play([]job.Entry{end})
	if got := unseen.final(); got != want || unseen.row.Version != 1 { // clients see only records whose version is above 0
		t.Errorf(" got %+v, version %d\nwant %+v", got, unseen.row.Version, want)
	}
}

func TestTheOwnerIsThatOfReceivedOtherwiseThatOfErased(t *testing.T) {
	t.Parallel()
	erasedOf := func(owner string) event.Event { return event.Erased{JobID: id, Owner: owner} }
	of := func(owner string) event.Event { return event.Received{JobID: id, TokenID: 7, Owner: owner} }
	for name, c := range map[string]struct {
		events []event.Event
		want   string
	}{
		"received":              {[]event.Event{of("alice"), stored()}, "alice"},
		"received, erased":      {[]event.Event{of("alice"), erasedOf("alice")}, "alice"},
		"erased alone":          {[]event.Event{erasedOf("alice")}, "alice"},
		"an older release":      {[]event.Event{of("alice"), erasedOf("")}, "alice"},
		"an older gateway":      {[]event.Event{of(""), erasedOf("")}, ""},
		"a forged erasure":      {[]event.Event{of("alice"), erasedOf("bob")}, "alice"},
		"not received yet":      {[]event.Event{stored(), attempted(1)}, ""},
		"erased twice":          {[]event.Event{erasedOf(""), erasedOf("alice")}, "alice"},
		"completed and erased":  {[]event.Event{of("alice"), stored(), completed(1), erasedOf("")}, "alice"},
		"erased, then received": {[]event.Event{erasedOf(""), of("alice")}, "alice"},
	} {
		entries := history(c.events...)
		slices.Reverse(entries)
		if got := play(history(c.events...)).row.Owner; got != c.want {
			t.Errorf("%s: %q", name, got)
		}
		if got := play(entries).row.Owner; got != c.want {
			t.Errorf("%s, in the reverse order: %q", name, got)
		}
	}
}

func TestErasedCountsWhateverItsSequence(t *testing.T) {
	t.Parallel()
	table := play(history(received(), stored(), attempted(1), completed(1)))
	if table.merge(job.Entry{Event: erased(), Seq: 1, Time: began.Add(time.Hour)}); table.row.Status != job.Erased || table.row.Progress != 100 {
		t.Errorf("%+v", table.row)
	}
}

package job_test

import (
	"testing"
	"time"

	"sori.internal/services/tracker/internal/job"
)

func TestATombstoneHoldsOnlyTokenAndTimeOfCreation(t *testing.T) {
	t.Parallel()
	whole := history(received(), stored(), attempted(1), dispatched(1), progressed(1, 50, "pitch"), completed(1), erased())
	want := job.New(id)
	want.TokenID, want.CreatedAt, want.StateSeq = 7, whole[0].Time.Truncate(time.Microsecond), whole[len(whole)-1].Seq
	want.Status, want.Stage = job.Erased, job.StageErased
	if got := play(whole).final(); got != want {
		t.Errorf(" got %+v\nwant %+v", got, want)
	}
	end := whole[len(whole)-1]
	want.TokenID, want.CreatedAt = 0, end.Time.Truncate(time.Microsecond)
	unseen := play([]job.Entry{end})
	if got := unseen.final(); got != want || unseen.row.Version != 1 { // it is shown, as gone
		t.Errorf(" got %+v, version %d\nwant %+v", got, unseen.row.Version, want)
	}
}

func TestErasedCountsWhateverItsSequence(t *testing.T) {
	t.Parallel()
	table := play(history(received(), stored(), attempted(1), completed(1)))
	if table.merge(job.Entry{Event: erased(), Seq: 1, Time: began.Add(time.Hour)}); table.row.Status != job.Erased || table.row.Progress != 100 {
		t.Errorf("%+v", table.row)
	}
}

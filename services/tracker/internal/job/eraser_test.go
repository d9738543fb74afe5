package job_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
)

// jobsOf makes so many jobs of token 7, and one of another token.
func (d *desk) jobsOf(n int) (jobs []string, other string) {
	d.t.Helper()
	for range n {
		jobs = append(jobs, d.says(d.received()))
	}
	return jobs, d.says(event.Received{JobID: d.NewJob(), TokenID: 8})
}

func TestADeletionThatIsInterruptedGoesOnWithWhatIsLeft(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	jobs, other := d.jobsOf(5)
	stuck := job.NewProjector(d.rows, d.bus, stubborn{d.bus, jobs[3]}, silent{})
	for range 2 {
		if err := job.NewEraser(stuck, d.rows).DeleteToken(d.Context(), 7, time.Now()); !fault.Is(err, fault.Unavailable) {
			t.Fatal(err)
		}
	}
	d.is(jobs[3], job.Processing, "")
	for range 2 {
		must(t, d.eraser.DeleteToken(d.Context(), 7, time.Now()))
	}
	for _, id := range jobs {
		d.is(id, job.Erased, "")
	}
	d.is(other, job.Processing, "")
}

// onePage lets the rows tell of one job at a time.
type onePage struct{ job.TokenRows }

func (p onePage) JobsOf(ctx context.Context, token int64, _ int) ([]string, error) {
	return p.TokenRows.JobsOf(ctx, token, 1)
}

func TestATokenOfManyPagesIsErasedPageByPage(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	jobs, other := d.jobsOf(5)
	must(t, job.NewEraser(d.projector, onePage{d.rows}).DeleteToken(d.Context(), 7, time.Now()))
	for _, id := range jobs {
		d.is(id, job.Erased, "")
	}
	d.is(other, job.Processing, "")
}

func TestAJobThatIsHeardOfAfterItsTokenWasDeletedIsErased(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	must(t, d.eraser.DeleteToken(d.Context(), 7, time.Now()))
	jobs, other := d.jobsOf(2)
	for _, id := range jobs {
		d.is(id, job.Erased, "")
		d.ends(id, event.NameErased)
		d.projects(id) // as it comes again
	}
	d.is(other, job.Processing, "")
}

func TestAnErasureNamesWhatLiesInStaging(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	r := d.received()
	r.Entry = "elsewhere"
	d.appends(r)
	d.appends(event.Completed{JobID: r.JobID, Attempt: 1, ResultEntry: "result", ResultChunks: 1})
	must(t, d.eraser.Erase(d.Context(), r.JobID))
	log, err := d.bus.Log(d.Context(), r.JobID)
	must(t, err)
	if e, _ := event.Last[event.Erased](log); !slices.Equal(e.Staged, []string{"elsewhere", "result"}) {
		t.Errorf("%+v", e)
	}
	d.projects(r.JobID) // the result was never staged, and nobody misses it
	d.is(r.JobID, job.Erased, "")
}

func TestAResultThatWentWithItsJobIsNotLost(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	id := d.says(d.received())
	completed := event.Completed{JobID: id, Attempt: 1, ResultEntry: "result", ResultChunks: 1}
	d.appends(completed)
	d.appends(event.Erased{JobID: id})
	late := []job.Entry{{Event: completed, Seq: 2, Time: time.Now()}} // which another copy has had for long
	must(t, d.projector.Project(d.Context(), late))
	d.projects(id)
	d.is(id, job.Erased, "")
	must(t, d.projector.Project(d.Context(), late))
	d.is(id, job.Erased, "")
}

// An erasure says all by its subject: whoever wrote it, and whatever into it.
func TestAnErasureThatCannotBeReadIsOne(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	jobs, _ := d.jobsOf(2)
	for _, id := range jobs {
		_, err := d.JetStream().Publish(d.Context(), d.Namespace().Subject(event.SubjectOf(id, event.NameErased)), []byte("{"))
		must(t, err)
	}
	log, err := d.bus.Log(d.Context(), jobs[0])
	must(t, err)
	must(t, d.projector.GiveUp(d.Context(), jobs[0], job.Entry{Seq: log.Seq(), Time: time.Now()}))
	d.is(jobs[0], job.Erased, "")
	must(t, d.eraser.DeleteToken(d.Context(), 7, time.Now()))
	d.is(jobs[1], job.Erased, "")
	if err := d.eraser.Erase(d.Context(), jobs[1]); !fault.Is(err, fault.Gone) {
		t.Error(err)
	}
	if story := d.Story(d.bus, jobs[1]); !slices.Equal(story, []event.Name{event.NameReceived, event.NameErased}) {
		t.Errorf("story %v", story)
	}
}

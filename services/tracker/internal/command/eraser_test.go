package command_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"sori.internal/services/tracker/internal/command"
	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
)

// jobsOf makes n jobs of token 7, and one job of another token.
func (e *env) jobsOf(n int) (jobs []string, other string) {
	e.t.Helper()
	for range n {
		jobs = append(jobs, e.record(e.received()))
	}
	return jobs, e.record(event.Received{JobID: e.NewJob(), TokenID: 8})
}

func TestAnInterruptedDeletionContinuesWithTheRemainingJobs(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	jobs, other := e.jobsOf(5)
	broken := command.NewDecider(brokenLog{e.jobs, jobs[3]}, e.projector)
	for range 2 {
		if err := command.NewEraser(broken, e.rows).DeleteToken(e.Context(), 7, time.Now()); !fault.Is(err, fault.Unavailable) {
			t.Fatal(err)
		}
	}
	e.wantStatus(jobs[3], job.Processing, "")
	for range 2 {
		must(t, e.eraser.DeleteToken(e.Context(), 7, time.Now()))
	}
	for _, id := range jobs {
		e.wantStatus(id, job.Erased, "")
	}
	e.wantStatus(other, job.Processing, "")
}

// onePage returns one job of a token per call, so that DeleteToken needs several calls.
type onePage struct{ command.TokenRows }

func (p onePage) JobsOf(ctx context.Context, token int64, _ int) ([]string, error) {
	return p.TokenRows.JobsOf(ctx, token, 1)
}

func TestATokenOfManyPagesIsErasedPageByPage(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	jobs, other := e.jobsOf(5)
	must(t, command.NewEraser(e.decider, onePage{e.rows}).DeleteToken(e.Context(), 7, time.Now()))
	for _, id := range jobs {
		e.wantStatus(id, job.Erased, "")
	}
	e.wantStatus(other, job.Processing, "")
}

func TestAJobThatIsRecordedAfterItsTokenWasDeletedIsErased(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	must(t, e.eraser.DeleteToken(e.Context(), 7, time.Now()))
	jobs, other := e.jobsOf(2)
	for _, id := range jobs {
		e.wantStatus(id, job.Erased, "")
		e.wantLast(id, event.NameErased)
		e.project(id) // a redelivery must change nothing
	}
	e.wantStatus(other, job.Processing, "")
}

func TestErasedNamesTheStagingEntriesOfTheJob(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	r := e.received()
	r.Entry = "elsewhere"
	e.append(r)
	e.append(event.Completed{JobID: r.JobID, Attempt: 1, ResultEntry: "result", ResultChunks: 1})
	must(t, e.eraser.Erase(e.Context(), r.JobID, "k1"))
	log, err := e.jobs.Read(e.Context(), r.JobID)
	must(t, err)
	if erased, _ := event.Last[event.Erased](log); !slices.Equal(erased.Staged, []string{"elsewhere", "result"}) || erased.By != "k1" {
		t.Errorf("%+v", erased)
	}
	e.project(r.JobID) // recording the log succeeds although the result is not in staging
	e.wantStatus(r.JobID, job.Erased, "")
}

// The uploader removes the event `received`, which names the owner, from the log as soon as it
// consumes the event `erased`. The record of an erased job must keep the owner, so that the owner
// gets 410 and not 404.
func TestTheOwnerOfAnErasedJobIsKeptWhateverIsLeftOfItsLog(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	unrecorded, expired, undecodable, deleted := e.received(), e.received(), e.received(), e.received()
	deleted.TokenID = 8
	for _, r := range []*event.Received{&unrecorded, &expired, &undecodable, &deleted} {
		r.Owner = "alice"
		e.append(*r)
	}
	must(t, e.eraser.Erase(e.Context(), unrecorded.JobID, "alice"))

	e.project(expired.JobID)
	stream, err := e.JetStream().Stream(e.Context(), e.Namespace().Stream(event.Jobs().Name))
	must(t, err)
	must(t, stream.Purge(e.Context(), jetstream.WithPurgeSubject(e.Namespace().Subject(event.LogSubject(expired.JobID)))))
	must(t, e.eraser.Erase(e.Context(), expired.JobID, "alice"))

	_, err = e.JetStream().Publish(e.Context(), e.Namespace().Subject(event.SubjectOf(undecodable.JobID, event.NameErased)), []byte("{"))
	must(t, err)
	log, err := e.jobs.Read(e.Context(), undecodable.JobID)
	must(t, err)
	must(t, e.unprojectable.Fail(e.Context(), undecodable.JobID, job.Entry{Seq: log.Seq(), Time: time.Now()}))

	e.project(deleted.JobID)
	must(t, e.eraser.DeleteToken(e.Context(), 8, time.Now()))

	for _, r := range []event.Received{unrecorded, expired, undecodable, deleted} {
		e.wantStatus(r.JobID, job.Erased, "")
		if s, _, err := e.rows.Find(e.Context(), r.JobID); err != nil || s.Owner != "alice" {
			t.Errorf("the owner is %q, %v", s.Owner, err)
		}
		log, err := e.jobs.Read(e.Context(), r.JobID)
		must(t, err)
		if erased, ok := event.Last[event.Erased](log); ok && erased.Owner != "alice" {
			t.Errorf("%+v", erased)
		}
	}
}

// A job whose owner cannot be stored in the database must be recorded without an owner.
func TestAJobWhoseOwnerCannotBeStoredBelongsToAdmins(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	r := e.received()
	r.Owner = "a\x00b"
	e.append(r)
	log, err := e.jobs.Read(e.Context(), r.JobID)
	must(t, err)
	if err := e.projector.Project(e.Context(), job.Entries(log)); !fault.Is(err, fault.Invalid) {
		t.Fatal(err)
	}
	must(t, e.unprojectable.Fail(e.Context(), r.JobID, job.Entries(log)[0]))
	if s, found, err := e.rows.Find(e.Context(), r.JobID); err != nil || !found || s.Owner != "" {
		t.Errorf("%+v, %v, %v", s, found, err)
	}
}

func TestAMissingResultOfAnErasedJobIsNoFailure(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.record(e.received())
	completed := event.Completed{JobID: id, Attempt: 1, ResultEntry: "result", ResultChunks: 1}
	e.append(completed)
	e.append(event.Erased{JobID: id})
	late := []job.Entry{{Event: completed, Seq: 2, Time: time.Now()}} // an event that another replica has projected before
	must(t, e.projector.Project(e.Context(), late))
	e.project(id)
	e.wantStatus(id, job.Erased, "")
	must(t, e.projector.Project(e.Context(), late))
	e.wantStatus(id, job.Erased, "")
}

// An erased event with a malformed body must erase the job, since its subject has the job and the
// type.
func TestAnErasedThatCannotBeDecodedErases(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	jobs, _ := e.jobsOf(2)
	for _, id := range jobs {
		_, err := e.JetStream().Publish(e.Context(), e.Namespace().Subject(event.SubjectOf(id, event.NameErased)), []byte("{"))
		must(t, err)
	}
	log, err := e.jobs.Read(e.Context(), jobs[0])
	must(t, err)
	must(t, e.unprojectable.Fail(e.Context(), jobs[0], job.Entry{Seq: log.Seq(), Time: time.Now()}))
	e.wantStatus(jobs[0], job.Erased, "")
	must(t, e.eraser.DeleteToken(e.Context(), 7, time.Now()))
	e.wantStatus(jobs[1], job.Erased, "")
	if err := e.eraser.Erase(e.Context(), jobs[1], ""); !fault.Is(err, fault.Gone) {
		t.Error(err)
	}
	if story := e.EventNames(e.bus, jobs[1]); !slices.Equal(story, []event.Name{event.NameReceived, event.NameErased}) {
		t.Errorf("story %v", story)
	}
}

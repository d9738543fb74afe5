package command

import (
	"errors"
	"testing"
	"time"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/testkit"
)

const id = "01890a5d-ac96-774b-bcce-b302099a8057"

var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// logOf returns a log of the events, at intervals of one second.
func logOf(events ...event.Event) event.Log { return testkit.LogOf(began, events...) }

func TestTheLogAloneDecidesOnCancelAndRetry(t *testing.T) {
	t.Parallel()
	received, stored := event.Received{JobID: id}, event.Stored{JobID: id, Key: "k"}
	remote, unfetched := event.Received{JobID: id, Source: "sealed"}, event.Failed{JobID: id, Code: "fetch-failed"}
	fetchable := event.Failed{JobID: id, Code: "fetch-timeout", Retryable: true}
	failed := func(retryable bool) event.Failed {
		return event.Failed{JobID: id, Attempt: 1, Code: "c", Retryable: retryable}
	}
	canceled, second := event.Canceled{JobID: id, By: "alice"}, event.Retried{JobID: id, Attempt: 2, By: "alice"}
	for name, c := range map[string]struct {
		log    event.Log
		action Action
		force  bool
		want   event.Event
		code   string // code of the expected error
	}{
		"cancel without a log":           {nil, Cancel, false, nil, "job-not-found"},
		"cancel an erased job":           {logOf(received, event.Erased{JobID: id}), Cancel, false, nil, "job-erased"},
		"cancel a job under way":         {logOf(received), Cancel, false, canceled, ""},
		"cancel a canceled job":          {logOf(received, canceled), Cancel, false, nil, ""},
		"cancel a completed job":         {logOf(received, event.Completed{JobID: id}), Cancel, false, nil, "job-not-cancelable"},
		"retry a job under way":          {logOf(received, stored), Retry, true, nil, "job-not-retryable"},
		"retry a failed job":             {logOf(received, stored, failed(true)), Retry, false, second, ""},
		"retry a failed upload":          {logOf(received, failed(true)), Retry, true, nil, "job-not-retryable"},
		"retry a permanent failure":      {logOf(received, stored, failed(false)), Retry, false, nil, "not-retryable"},
		"force to retry it":              {logOf(received, stored, failed(false)), Retry, true, second, ""},
		"retry a failed fetch":           {logOf(remote, fetchable), Retry, false, event.Retried{JobID: id, Attempt: 1, Fetch: true, By: "alice"}, ""},
		"retry a fetch that is refused":  {logOf(remote, unfetched), Retry, false, nil, "not-retryable"},
		"force to fetch again":           {logOf(remote, unfetched), Retry, true, event.Retried{JobID: id, Attempt: 1, Fetch: true, By: "alice"}, ""},
		"retry a fetched recording":      {logOf(remote, stored, failed(true)), Retry, false, second, ""},
		"retry a fetch under way":        {logOf(remote), Retry, true, nil, "job-not-retryable"},
		"retry a canceled fetch":         {logOf(remote, canceled), Retry, true, nil, "job-not-retryable"},
		"retry a canceled job":           {logOf(received, stored, canceled), Retry, true, nil, "job-not-retryable"},
		"retry a failure without a body": {logOf(received, stored, event.Unreadable{JobID: id, Of: event.NameFailed}), Retry, false, event.Retried{JobID: id, Attempt: 1, By: "alice"}, ""},
	} {
		got, err := Request{Job: id, Action: c.action, Force: c.force, By: "alice"}.rule(0, began)(c.log)
		code := ""
		if f, ok := errors.AsType[*fault.Error](err); ok {
			code = f.Code
		}
		if got != c.want || code != c.code {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestAJobWithManyAttemptsIsRetriedOnceInAnInterval(t *testing.T) {
	t.Parallel()
	failed := event.Failed{JobID: id, Attempt: 1, Code: "c", Retryable: true}
	retriedTo := func(attempt int) event.Log {
		return logOf(event.Received{JobID: id}, event.Stored{JobID: id, Key: "k"}, failed, event.Retried{JobID: id, Attempt: attempt}, failed)
	}
	log := retriedTo(10)
	retried := log[3].Time
	for after, allowed := range map[time.Duration]bool{0: false, 9 * time.Second: false, 10 * time.Second: true, time.Hour: true} {
		got, err := Request{Job: id, Action: Retry}.rule(10*time.Second, retried.Add(after))(log)
		if allowed && (err != nil || got == nil) {
			t.Errorf("after %v: %v", after, err)
		}
		if f := fault.As(err); !allowed && (f == nil || f.Kind != fault.RateLimited || f.Code != "rate-limited" || f.RetryAfter != 10*time.Second-after) {
			t.Errorf("after %v: %+v", after, f)
		}
	}
	for attempt := 2; attempt < 10; attempt++ {
		if got, err := (Request{Job: id, Action: Retry}).rule(10*time.Second, retried)(retriedTo(attempt)); err != nil || got == nil {
			t.Errorf("attempt %d: %v", attempt+1, err)
		}
	}
	_, err := Request{Job: id, Action: Retry}.rule(10*time.Second, retried)(log[:4])
	if fault.As(err).Code != "job-not-retryable" { // that the job is already running takes precedence over the limit of retries
		t.Error(err)
	}
}

func TestTheLogAloneDecidesOnADeadline(t *testing.T) {
	t.Parallel()
	d := Deadlines{Dispatch: time.Hour, Factor: 10, Min: 10 * time.Minute, Max: 2 * time.Hour}
	received, stored := event.Received{JobID: id}, event.Stored{JobID: id, Key: "k", Duration: 180}
	attempted, dispatched := event.Attempted{JobID: id, Attempt: 1}, event.Dispatched{JobID: id, Attempt: 1}
	lapsed := event.Lapsed{JobID: id, Attempt: 1}
	for name, c := range map[string]struct {
		log  event.Log
		from int // index of the event that the deadline counts from
		took time.Duration
		want event.Name // "" means that no event is appended
		code string
	}{
		"received":            {logOf(received), 0, time.Hour, event.NameFailed, "dispatch-timeout"},
		"stored, attempted":   {logOf(received, stored, attempted), 0, time.Hour, event.NameFailed, "dispatch-timeout"},
		"dispatched":          {logOf(received, stored, attempted, dispatched), 3, 30 * time.Minute, event.NameLapsed, ""},
		"lapsed":              {logOf(received, stored, attempted, dispatched, lapsed), 4, time.Hour, event.NameFailed, "analysis-timeout"},
		"retried":             {logOf(received, stored, attempted, event.Failed{JobID: id, Attempt: 1}, event.Retried{JobID: id, Attempt: 2}), 4, time.Hour, event.NameFailed, "dispatch-timeout"},
		"canceled":            {logOf(received, event.Canceled{JobID: id}), 1, 1000 * time.Hour, "", ""},
		"completed":           {logOf(received, stored, event.Completed{JobID: id}), 2, 1000 * time.Hour, "", ""},
		"a log that is empty": {nil, 0, time.Hour, "", ""},
	} {
		from := began.Add(time.Duration(c.from) * time.Second)
		if early, err := d.rule(from.Add(c.took-time.Nanosecond), time.Time{})(c.log); early != nil || err != nil {
			t.Errorf("%s, too early: %+v, %v", name, early, err)
		}
		got, err := d.rule(from.Add(c.took), time.Time{})(c.log)
		if err != nil || (got == nil) != (c.want == "") {
			t.Errorf("%s: %+v, %v", name, got, err)
			continue
		}
		if failed, _ := got.(event.Failed); got != nil && (got.Name() != c.want || failed.Code != c.code) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestAJobThatFollowsAnotherOneHasTheDeadlineOfItsNewestWait(t *testing.T) {
	t.Parallel()
	received, stored := event.Received{JobID: id}, event.Stored{JobID: id, Key: "k"}
	now := began.Add(1000 * time.Hour)
	for name, c := range map[string]struct {
		dispatch, ago time.Duration // Deadlines.Dispatch, and the age of the newest waiting event
		log           event.Log
		fails         bool
	}{
		"it waits":                      {time.Hour, time.Hour - time.Second, logOf(received, stored), false},
		"it does not wait any more":     {time.Hour, time.Hour, logOf(received, stored), true},
		"a short deadline":              {time.Second, 29 * time.Minute, logOf(received, stored), false},
		"a short deadline that is over": {time.Second, 30 * time.Minute, logOf(received, stored), true},
		"it was promoted":               {time.Hour, time.Minute, logOf(received, stored, event.Attempted{JobID: id, Attempt: 1}), true},
		"it was retried":                {time.Hour, time.Minute, logOf(received, stored, event.Failed{JobID: id}, event.Retried{JobID: id, Attempt: 1}), true},
	} {
		got, err := Deadlines{Dispatch: c.dispatch}.rule(now, now.Add(-c.ago))(c.log)
		if err != nil || (got != nil) != c.fails {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestErasedNamesWhatTheLogHasInStagingAndAtTheAnalysisServer(t *testing.T) {
	t.Parallel()
	log := logOf(event.Received{JobID: id, Entry: "upload", Owner: "alice"},
		event.Dispatched{JobID: id, Attempt: 1, AnalysisJobID: "a-1"}, event.Completed{JobID: id, ResultEntry: "result"})
	if e := erased(id, log); e.Owner != "alice" || e.AnalysisJobID != "a-1" || len(e.Staged) != 2 || e.Staged[0] != "upload" || e.Staged[1] != "result" {
		t.Errorf("%+v", e)
	}
	if e := erased(id, nil); e.Staged != nil || statusOf(logOf(e)) != job.Erased {
		t.Errorf("%+v", e)
	}
}

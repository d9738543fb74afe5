package job_test

import (
	"testing"
	"time"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/event"
	"sori.internal/shared/locale"
)

func TestAWaitShowsUntilTheAnalysisServerHasTheAttempt(t *testing.T) {
	t.Parallel()
	begun := []event.Event{received(), stored(), attempted(1)}
	again := []event.Event{received(), stored(), attempted(1), dispatched(1), lapsed(1), attempted(2)}
	for name, c := range map[string]struct {
		before, then []event.Event
		until        int // expected end of the wait in minutes; 0 means that no wait is shown
	}{
		"told":                       {begun, []event.Event{waiting(1, 1)}, 1},
		"told again":                 {begun, []event.Event{waiting(1, 1), waiting(1, 2)}, 2},
		"the last word is sooner":    {begun, []event.Event{waiting(1, 2), waiting(1, 1)}, 1},
		"taken":                      {begun, []event.Event{waiting(1, 1), dispatched(1)}, 0},
		"taken before it was told":   {begun, []event.Event{dispatched(1), waiting(1, 1)}, 0},
		"at work by its own word":    {begun, []event.Event{waiting(1, 1), progressed(1, 5, ""), waiting(1, 2)}, 0},
		"anything newer is known":    {begun, []event.Event{waiting(1, 1), lapsed(1)}, 0},
		"completed":                  {begun, []event.Event{waiting(1, 1), completed(1), waiting(1, 2)}, 0},
		"failed":                     {begun, []event.Event{waiting(1, 1), failed(1)}, 0},
		"canceled":                   {begun, []event.Event{waiting(1, 1), canceled(), waiting(1, 2)}, 0},
		"retried":                    {begun, []event.Event{waiting(1, 1), failed(1), retried(2)}, 0},
		"retried and told":           {begun, []event.Event{failed(1), retried(2), attempted(2), waiting(2, 2)}, 2},
		"an old attempt's":           {begun, []event.Event{failed(1), retried(2), waiting(1, 1)}, 0},
		"an old attempt's, later":    {begun, []event.Event{failed(1), retried(2), attempted(2), waiting(2, 2), waiting(1, 3)}, 2},
		"the next attempt's":         {again, []event.Event{waiting(2, 1)}, 1},
		"beside the old one's words": {again, []event.Event{waiting(2, 1), progressed(1, 60, "")}, 1},
		"the next attempt is taken":  {again, []event.Event{waiting(2, 1), dispatched(2)}, 0},
		"without any time":           {begun, []event.Event{event.Waiting{JobID: id, Attempt: 1}}, 0},
	} {
		r := play(history(append(c.before[:len(c.before):len(c.before)], c.then...)...)).row
		var want time.Time
		if c.until > 0 {
			want = began.Add(time.Duration(c.until) * time.Minute).Truncate(time.Microsecond)
		}
		if r.NextAttemptAt != want || (r.Stage == job.StageWaiting) != (c.until > 0) {
			t.Errorf("%s: %s until %v", name, r.Stage, r.NextAttemptAt)
		}
	}
}

func TestAWaitInTheQueueTellsNoTime(t *testing.T) {
	t.Parallel()
	queued := event.Waiting{JobID: id, Attempt: 1, Since: began, Code: "analysis-full"}
	granted := event.Granted{JobID: id, Attempt: 1, Entry: 1}
	for name, c := range map[string]struct {
		then  []event.Event
		stage job.Stage
	}{
		"queued":         {[]event.Event{queued}, job.StageWaiting},
		"queued again":   {[]event.Event{waiting(1, 1), queued}, job.StageWaiting},
		"granted a slot": {[]event.Event{queued, granted}, job.StageWaiting},
		"accepted":       {[]event.Event{queued, granted, dispatched(1)}, job.StageDispatched},
	} {
		r := play(history(append([]event.Event{received(), stored(), attempted(1)}, c.then...)...)).row
		if r.Stage != c.stage || !r.NextAttemptAt.IsZero() {
			t.Errorf("%s: %s until %v", name, r.Stage, r.NextAttemptAt)
		}
		if text := r.Text(locale.English); c.stage == job.StageWaiting && text != "Waiting for its turn to be analysed" {
			t.Errorf("%s: %s", name, text)
		}
	}
}

func TestAWaitForAnotherJobSaysSo(t *testing.T) {
	t.Parallel()
	follows := event.Waiting{JobID: id, Attempt: 1, Since: began, Code: event.CodeSameRecording}
	again := event.Waiting{JobID: id, Attempt: 1, Since: began.Add(time.Minute), Code: event.CodeSameRecording}
	cached := event.Completed{JobID: id, Result: []byte(`{}`), Cached: true, CachedFrom: "another"}
	table := play(history(received(), stored(), follows))
	version := table.row.Version
	const text = "The same recording is being analysed, waiting for its result"
	if r := table.row; r.Stage != job.StageWaiting || r.Text(locale.English) != text || r.WaitingCode != event.CodeSameRecording {
		t.Errorf("%s: %s", r.Stage, r.Text(locale.English))
	}
	if table.merge(job.Entry{Event: again, Seq: 50, Time: began}); table.row.Version != version {
		t.Errorf("version %d became %d", version, table.row.Version)
	}
	for name, c := range map[string]struct {
		then   []event.Event
		stage  job.Stage
		cached bool
	}{
		"it is completed": {[]event.Event{cached}, job.StageCompleted, true},
		"it is analysed":  {[]event.Event{attempted(1), dispatched(1), completed(1)}, job.StageCompleted, false},
		"it is erased":    {[]event.Event{cached, erased()}, job.StageErased, false},
	} {
		r := play(history(append([]event.Event{received(), stored(), follows}, c.then...)...)).row
		if r.Stage != c.stage || r.Cached != c.cached || r.WaitingCode != "" || r.Attempt != len(c.then)/3 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

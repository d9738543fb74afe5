package job_test

import (
	"testing"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/event"
	"sori.internal/shared/locale"
)

func TestAFetchShowsUntilTheRecordingIsStored(t *testing.T) {
	t.Parallel()
	remote := event.Received{JobID: id, TokenID: 1, FileName: "a.wav", Source: "sealed"}
	begins := event.Fetching{JobID: id, Size: 1000, Try: 1}
	half := event.Fetching{JobID: id, Bytes: 500, Size: 1000, Try: 1}
	second := event.Fetching{JobID: id, Try: 2, Code: "fetch-failed", Status: 503}
	again := event.Fetching{JobID: id, Attempt: 1, Bytes: 100, Size: 1000, Try: 1}
	unfetched, retry := event.Failed{JobID: id, Code: "fetch-failed", Retryable: true}, event.Retried{JobID: id, Attempt: 1, Fetch: true}
	refetched, _ := stored().(event.Stored)
	refetched.Attempt = 1
	for name, c := range map[string]struct {
		then     []event.Event
		stage    job.Stage
		progress int
		fetch    job.Fetch
	}{
		"accepted":        {nil, job.StageReceived, 10, job.Fetch{}},
		"begun":           {[]event.Event{begins}, job.StageFetching, 20, job.Fetch{Size: 1000, Try: 1}},
		"half":            {[]event.Event{begins, half}, job.StageFetching, 44, job.Fetch{Bytes: 500, Size: 1000, Try: 1}},
		"a second try":    {[]event.Event{begins, half, second}, job.StageFetching, 44, job.Fetch{Try: 2, Code: "fetch-failed", Status: 503}},
		"stored":          {[]event.Event{begins, half, stored()}, job.StageStored, 70, job.Fetch{}},
		"late progress":   {[]event.Event{begins, stored(), half}, job.StageStored, 70, job.Fetch{}},
		"failed":          {[]event.Event{begins, half, unfetched}, job.StageFailed, 44, job.Fetch{}},
		"canceled":        {[]event.Event{begins, half, canceled()}, job.StageCanceled, 44, job.Fetch{}},
		"retried":         {[]event.Event{begins, half, unfetched, retry}, job.StageReceived, 10, job.Fetch{}},
		"fetched again":   {[]event.Event{begins, half, unfetched, retry, again}, job.StageFetching, 24, job.Fetch{Bytes: 100, Size: 1000, Try: 1}},
		"an old fetch's":  {[]event.Event{begins, unfetched, retry, again, half}, job.StageFetching, 24, job.Fetch{Bytes: 100, Size: 1000, Try: 1}},
		"stored at last":  {[]event.Event{begins, half, unfetched, retry, again, refetched}, job.StageStored, 70, job.Fetch{}},
		"then dispatched": {[]event.Event{begins, unfetched, retry, again, refetched, attempted(1), dispatched(1)}, job.StageDispatched, 90, job.Fetch{}},
	} {
		r := play(history(append([]event.Event{remote}, c.then...)...)).row
		if r.Stage != c.stage || r.Progress != c.progress || r.Fetch != c.fetch {
			t.Errorf("%s: %s, %d, %+v", name, r.Stage, r.Progress, r.Fetch)
		}
		if text := r.Text(locale.English); c.stage == job.StageFetching && text != "Fetching the recording..." {
			t.Errorf("%s: %s", name, text)
		}
	}
}

func TestWhatIsKnownOfAFetchedRecordingComesFromStored(t *testing.T) {
	t.Parallel()
	remote := event.Received{JobID: id, TokenID: 1, FileName: "a.wav", Source: "sealed"}
	r := play(history(remote)).row
	if r.MediaType != "" || r.Size != 0 || r.SHA256 != "" || r.FileName != "a.wav" {
		t.Errorf("%+v", r)
	}
	s, _ := stored().(event.Stored)
	r = play(history(remote, s)).row
	if r.MediaType != s.MediaType || r.Size != s.Size || r.SHA256 != s.SHA256 || r.Key != s.Key {
		t.Errorf("%+v", r)
	}
}

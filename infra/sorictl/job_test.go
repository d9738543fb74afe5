package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	analyzer "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/shared/event"
	"sori.internal/shared/joblog"
	"sori.internal/shared/testkit"
)

func TestAJobIsShownOnOneScreen(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Behaviour: analyzer.Behaviour{Instant: true}})
	job := done(t, w, 1)[0]
	shown := shows(t, w.Kit, []string{"job", strings.ToUpper(job)},
		job+", has ended: completed", "completed, progress 100, attempt 1", "no owner", `file "녹음 1.wav"`, "s3://", "audio/"+job+"_", "32044 bytes")
	at := 0
	for _, name := range []string{"received", "stored", "attempted", "completed"} { // without the event dispatched, since a callback may arrive before that event is appended
		i := strings.Index(shown[at:], "  "+name+"  ")
		if i < 0 {
			t.Fatalf("%s is not shown in its place:\n%s", name, shown)
		}
		at += i
	}
	if lines := strings.Count(shown, "\n"); lines > 24 {
		t.Errorf("%d lines:\n%s", lines, shown)
	}
}

func TestAnUnknownJobIsAnError(t *testing.T) {
	t.Parallel()
	o := attended(t)
	o.Bucket()
	job, shown := o.NewJob(), ""
	testkit.Eventually(t, func() (err error) { // until the tracker has made its tables
		if shown, err = sorictl(t, o.Kit, nil, "job", job); err == nil || !strings.Contains(said(err), "job "+job+" is unknown") {
			return errors.New("the error is " + fmt.Sprint(err))
		}
		return nil
	})
	contains(t, shown, "not in the log", "record", "none")
}

func TestAJobsScreenTellsThatItsResultIsCached(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{
		Behaviour: analyzer.Behaviour{Instant: true}, Settings: map[string]string{"RESULT_CACHE_TTL": "1h"},
	})
	analysed, cached := done(t, w, 1)[0], done(t, w, 1)[0]
	shows(t, w.Kit, []string{"job", cached}, "completed, progress 100, attempt 0", "cached: the analysis is of job "+analysed, "cached_from="+analysed)
	if shown := shows(t, w.Kit, []string{"job", analysed}, "completed, progress 100, attempt 1"); strings.Contains(shown, "cached:") {
		t.Errorf("shown:\n%s", shown)
	}
}

func TestAJobsScreenTellsEveryAttempt(t *testing.T) {
	t.Parallel()
	o := attended(t)
	o.Bucket()
	job := o.job(stored, attempted(1),
		func(id string) event.Event { return event.Dispatched{JobID: id, Attempt: 1} },
		func(id string) event.Event { return event.Lapsed{JobID: id, Attempt: 1} },
		attempted(2), failed("analysis-failed", 2),
		func(id string) event.Event { return event.Retried{JobID: id, Attempt: 3} })
	o.Settled(projection)
	shown := shows(t, o.Kit, []string{"job", job}, job+", in progress, last event: retried", "processing, progress 70, attempt 3, version")
	at := 0
	for _, line := range []string{"attempted  ", "dispatched  ", "lapsed  ", "attempted  ", "failed  ", "retried  "} {
		i := strings.Index(shown[at:], line)
		if i < 0 {
			t.Fatalf("%s is not shown in its place:\n%s", line, shown)
		}
		at += i + len(line)
	}
	contains(t, shown, "attempt=1", "attempt=2 code=analysis-failed", "attempt=3")
}

func TestAJobsScreenTellsItsOwnerAndWhoAsked(t *testing.T) {
	t.Parallel()
	o := attended(t)
	o.Bucket()
	job := o.NewJob()
	log := joblog.New(o.bus)
	seq, err := log.Append(o.Context(), event.Received{JobID: job, TokenID: 7, Owner: "auth0|al\u202eice", MediaType: "audio/wav"}, 0)
	if err == nil {
		_, err = log.Append(o.Context(), event.Canceled{JobID: job, By: "k7"}, seq)
	}
	if err != nil {
		t.Fatal(err)
	}
	o.Settled(projection)
	shows(t, o.Kit, []string{"job", job}, "canceled, progress 10", `owner "auth0|al\u202eice"`, "by=k7")
}

func TestAJobsScreenSaysWhatToTryWhereAPresignedURLIsRejected(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Front: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"detail":"Invalid S3 URL format"}`, http.StatusBadRequest)
		})
	}})
	job := w.Upload(t, "a.wav", wave())
	w.Follow(w.Context(), t, job, "en")
	w.Settled(projection)
	shows(t, w.Kit, []string{"job", job}, "analysis-rejected", "Invalid S3 URL format", "ANALYSIS_URL_STYLE=s3")
	contains(t, w.Logged(), "ANALYSIS_URL_STYLE=s3")
}

func TestAJobsScreenTellsOfARefusedCallbackAndOfWhatWasMended(t *testing.T) {
	t.Parallel()
	hook := make(chan string, 1)
	w := harnesstest.Start(t, harnesstest.Options{Front: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { hook <- r.FormValue("webhook_url") })
	}})
	job := w.Upload(t, "a.wav", wave())
	to := <-hook
	for _, body := range []string{`{"status":"exploded"}`, `{"status":"completed"}`} {
		resp, err := http.Post(to, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	shows(t, w.Kit, []string{"job", job}, "refused", "validation-failed", "none of completed, failed, processing", "no-results")
}

func TestWhatCannotBeReachedIsToldAndTheRestIsShown(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Behaviour: analyzer.Behaviour{Instant: true}})
	job := done(t, w, 1)[0]
	nowhere := map[string]string{"DATABASE_URL": "postgres://u:hunter2@127.0.0.1:9/x", "S3_ENDPOINT": "http://127.0.0.1:9"}
	shown, err := sorictl(t, w.Kit, nowhere, "job", job)
	if err == nil {
		t.Error("nothing is said of what is away")
	}
	contains(t, shown, "unknown: The database cannot be reached", "unknown: The storage cannot be reached", "connection refused", "has ended: completed", "attempted")
	if strings.Contains(shown+said(err), "hunter2") {
		t.Error("a password is shown")
	}
}

func TestWhatRefusesTheOperatorIsToldWithWhatToCorrect(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Behaviour: analyzer.Behaviour{Instant: true}})
	job := done(t, w, 1)[0]
	database := w.Database() + "&options=nonsense"
	shown, err := sorictl(t, w.Kit, map[string]string{"DATABASE_URL": database}, "job", job)
	if err == nil {
		t.Error("nothing is said of what is refused")
	}
	contains(t, shown, "unknown: ", "The database refuses the service", "take the parameter out of DATABASE_URL", "has ended: completed")
}

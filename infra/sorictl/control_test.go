package main

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	analyzer "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/harness/harnesstest"
	tracker "sori.internal/services/tracker/app"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/httpd"
	"sori.internal/shared/joblog"
	"sori.internal/shared/testkit"
)

// office is the environment of a test with a running tracker, in which the test creates jobs by their events.
type office struct {
	*testkit.Kit
	t   *testing.T
	bus *bus.Bus
	at  map[string]string // settings with the URL of the tracker
}

func attended(t *testing.T) *office {
	t.Helper()
	k := testkit.New(t)
	k.MigratedDatabase()
	o := &office{Kit: k, t: t, bus: k.Bus("tester", event.Jobs(), event.Dead(), event.Staging())}
	o.at = map[string]string{"TRACKER_URL": k.Run(tracker.Run, nil).URL + "/"}
	return o
}

// step returns an event for the job with the id.
type step func(id string) event.Event

// stored returns the event `stored`, without which a job cannot be retried.
func stored(id string) event.Event { return event.Stored{JobID: id, Key: "k", Duration: 1} }

func completed(id string) event.Event {
	return event.Completed{JobID: id, Attempt: 1, Result: []byte(`{}`)}
}

func failed(code string, attempt int) step {
	return func(id string) event.Event {
		return event.Failed{JobID: id, Attempt: attempt, Code: code, Retryable: true}
	}
}

// broken returns a step that fails the job with a code and is not retryable.
func broken(code string) step {
	return func(id string) event.Event { return event.Failed{JobID: id, Code: code} }
}

func attempted(n int) step {
	return func(id string) event.Event { return event.Attempted{JobID: id, Attempt: n} }
}

// job creates a job whose log contains the event `received` and then the given steps.
func (o *office) job(steps ...step) string {
	o.t.Helper()
	id := o.NewJob()
	seq, err := joblog.New(o.bus).Append(o.Context(), event.Received{JobID: id, TokenID: 1}, 0)
	for _, s := range steps {
		if err == nil {
			seq, err = joblog.New(o.bus).Append(o.Context(), s(id), seq)
		}
	}
	if err != nil {
		o.t.Fatal(err)
	}
	return id
}

// run runs a command with the tracker's URL, and returns the first word of each line of
// its output: a job, except in the last line.
func (o *office) run(args ...string) (first []string, shown string, err error) {
	o.t.Helper()
	shown, err = sorictl(o.t, o.Kit, o.at, args...)
	for line := range strings.Lines(shown) {
		word, _, _ := strings.Cut(line, " ")
		first = append(first, word)
	}
	return first[:max(0, len(first)-1)], shown, err
}

func TestJobsAreRetriedByNameAndTheRestIsRefusedWithItsReason(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Behaviour: analyzer.Behaviour{Fail: true}})
	at := map[string]string{"TRACKER_URL": w.Tracker}
	var broken []string
	for range 2 {
		job := w.Upload(t, "a.wav", wave())
		w.Follow(w.Context(), t, job, "en")
		broken = append(broken, job)
	}
	if err := w.Analyzer.Behave(analyzer.Behaviour{Instant: true}); err != nil {
		t.Fatal(err)
	}
	well, unknown := done(t, w, 1)[0], w.NewJob()
	shown, err := sorictl(t, w.Kit, at, "retry", broken[0], well, unknown, strings.ToUpper(broken[1]))
	if err == nil || !strings.Contains(err.Error(), "2 jobs were refused") {
		t.Errorf("the end is %v", err)
	}
	contains(t, shown, broken[0]+"  retried\n", broken[1]+"  retried\n",
		well+"  refused: The job is completed and cannot be retried. (job-not-retryable), status completed\n",
		unknown+"  refused: ", "(job-not-found)\n", "2 of 4 jobs retried, 2 refused, 0 left")
	for _, job := range broken {
		frames := w.Follow(w.Context(), t, job, "en")
		if end := frames[len(frames)-1]; end.Status != "completed" {
			t.Errorf("job %s ended %+v", job, end)
		}
	}
}

func TestFailedJobsAreChosenByCodeAgeAndNumberTheNewestFirst(t *testing.T) {
	t.Parallel()
	o := attended(t)
	oldest := o.job(stored, failed("analysis-timeout", 0))
	middle := o.job(stored, failed("analysis-failed", 0))
	newest := o.job(stored, attempted(1), failed("analysis-timeout", 1))
	lost := o.job(failed("dispatch-timeout", 0))
	o.job(stored)
	o.job(stored, completed)
	o.Settled(projection)
	spoil(t, o.Kit, tableOf(t, o.Kit), `UPDATE tracker.analysis_results SET updated_at = updated_at - interval '2 hours' WHERE job_id = $1`, oldest)
	before := len(o.Messages(event.Jobs()))
	for _, c := range []struct {
		args []string
		want []string
	}{
		{nil, []string{newest, middle, oldest}},
		{[]string{"-code", "analysis-timeout"}, []string{newest, oldest}},
		{[]string{"-code", "dispatch-timeout"}, nil},
		{[]string{"-since", "1h"}, []string{newest, middle}},
		{[]string{"-since", "1h", "-code", "analysis-timeout"}, []string{newest}},
		{[]string{"-n", "2"}, []string{newest, middle}},
		{[]string{"-code", `x' OR 'a'='a`}, nil},
	} {
		got, shown, err := o.run(append([]string{"retry", "-failed", "-dry-run"}, c.args...)...)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, %s", c.args, err, shown)
		}
	}
	if after := len(o.Messages(event.Jobs())); after != before {
		t.Errorf("what was only shown has made %d events", after-before)
	}
	if got, shown, err := o.run("retry", "-failed", "-code", "analysis-timeout"); err != nil || !slices.Equal(got, []string{newest, oldest}) {
		t.Errorf("%v, %s", err, shown)
	}
	for job, want := range map[string]int{newest: 2, oldest: 1, middle: 0, lost: 0} {
		log, err := joblog.New(o.bus).Read(o.Context(), job)
		if err != nil {
			t.Fatal(err)
		}
		if r, _ := event.Last[event.Retried](log); r.Attempt != want {
			t.Errorf("%s: retried as attempt %d, want %d", job, r.Attempt, want)
		}
	}
	if _, shown, err := o.run("retry", "-failed", "-code", "analysis-timeout"); err != nil || !strings.Contains(shown, "0 of 0 jobs retried") {
		t.Errorf("once more: %v, %s", err, shown)
	}
}

// A record can differ from the log, for example if a result could not be recorded. The tracker must decide by
// the log.
func TestTheTrackerDecidesByTheLogWhateverTheRecordSays(t *testing.T) {
	t.Parallel()
	o := attended(t)
	job := o.job(stored, completed)
	o.Settled(projection)
	spoil(t, o.Kit, tableOf(t, o.Kit), `UPDATE tracker.analysis_results SET status = 'failed', error_code = 'unprojectable', error_detail = '', error_retryable = false WHERE job_id = $1`, job)
	_, shown, err := o.run("retry", "-failed", "-force")
	if err == nil {
		t.Error("what is completed is retried")
	}
	contains(t, shown, job+"  refused (unprojectable, attempt 1, ", "status completed", "0 of 1 jobs retried, 1 refused")
	if story := o.EventNames(o.bus, job); story[len(story)-1] != event.NameCompleted {
		t.Errorf("story %v", story)
	}
}

func TestWhatAnotherTryDoesNotHelpIsRetriedByForceAlone(t *testing.T) {
	t.Parallel()
	o := attended(t)
	lasting, passing := o.job(stored, broken("unsupported-codec")), o.job(stored, failed("analysis-failed", 0))
	o.Settled(projection)
	const skipped = "1 skipped: another attempt does not change why they failed (-force retries them)\n"
	_, shown, err := o.run("retry", "-failed", "-dry-run")
	if err != nil || !strings.Contains(shown, skipped) || strings.Contains(shown, lasting) || !strings.Contains(shown, passing) {
		t.Errorf("%v, %s", err, shown)
	}
	if _, shown, err = o.run("retry", lasting); err == nil {
		t.Error("what cannot succeed is retried")
	}
	contains(t, shown, lasting+"  refused: ", "(not-retryable), status failed", "0 of 1 jobs retried, 1 refused")
	_, shown, err = o.run("retry", "-failed")
	contains(t, shown, skipped, passing+"  retried", "1 of 1 jobs retried")
	if err != nil {
		t.Error(err)
	}
	_, shown, err = o.run("retry", "-failed", "-force")
	contains(t, shown, lasting+"  retried (unsupported-codec, ", "1 of 1 jobs retried")
	if err != nil || strings.Contains(shown, "skipped") {
		t.Errorf("%v, %s", err, shown)
	}
	if story := o.EventNames(o.bus, lasting); story[len(story)-1] != event.NameRetried {
		t.Errorf("story %v", story)
	}
}

func TestAJobIsCanceledOnce(t *testing.T) {
	t.Parallel()
	o := attended(t)
	running, ended := o.job(stored), o.job(failed("c", 0))
	for range 2 {
		if _, shown, err := o.run("cancel", running); err != nil || !strings.Contains(shown, running+"  canceled\n1 of 1 jobs canceled") {
			t.Errorf("%v, %s", err, shown)
		}
	}
	_, shown, err := o.run("cancel", ended, running)
	if err == nil {
		t.Error("what has ended is canceled")
	}
	contains(t, shown, ended+"  refused: ", "status failed", running+"  canceled\n", "1 of 2 jobs canceled, 1 refused")
	if story := o.EventNames(o.bus, running); !slices.Equal(story, []event.Name{event.NameReceived, event.NameStored, event.NameCanceled}) {
		t.Errorf("story %v", story)
	}
}

func TestATrackerThatIsAwayIsAskedNoFurther(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	asked := 0
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		http.Error(w, "\x1b[2Jno route", http.StatusBadGateway)
	}))
	defer other.Close()
	for url, says := range map[string]string{"http://127.0.0.1:9": "cannot be reached", other.URL: "is not a tracker"} {
		shown, err := sorictl(t, k, map[string]string{"TRACKER_URL": url}, "retry", k.NewJob(), k.NewJob())
		if err == nil || !strings.Contains(said(err), says) {
			t.Errorf("%s: %v", url, err)
		}
		contains(t, shown, "0 of 2 jobs retried, 0 refused, 2 left")
	}
	if asked != 1 {
		t.Errorf("it was asked %d times", asked)
	}
}

func TestAWrongSettingOfTheTrackerIsNamedAndNoOtherJobIsTried(t *testing.T) {
	t.Parallel()
	o := attended(t)
	job := o.job(stored, failed("c", 0))
	o.Settled(projection)
	dispatcher := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { httpd.Fail(w, r, httpd.NoRoute()) }))
	defer dispatcher.Close()
	for says, change := range map[string]map[string]string{
		"PRINCIPAL_SECRET must be":   {"PRINCIPAL_SECRET": strings.Repeat("another ", 8), "TRACKER_URL": o.at["TRACKER_URL"]},
		"is not a tracker":           {"TRACKER_URL": dispatcher.URL},
		"must be an http or https":   {"TRACKER_URL": "tracker"},
		"TRACKER_URL: it is not a v": {"TRACKER_URL": "127.0.0.1:8003"},
	} {
		shown, err := sorictl(t, o.Kit, change, "retry", job, o.NewJob())
		if err == nil || !strings.Contains(said(err), says) || strings.Contains(shown, "1 refused") {
			t.Errorf("%s: %v, %s", says, err, shown)
		}
	}
}

func TestATrackerWithoutItsBusRefusesAndNothingHasHappened(t *testing.T) {
	t.Parallel()
	o := attended(t)
	job := o.job(stored, failed("c", 0))
	o.Settled(projection)
	nats := o.Proxy(o.Settings(nil)["NATS_URL"])
	o.at["TRACKER_URL"] = o.Run(tracker.Run, map[string]string{"NATS_URL": nats.URL}).URL
	nats.Cut()
	began := time.Now()
	_, shown, err := o.run("retry", "-failed")
	if err == nil || time.Since(began) > answerIn {
		t.Errorf("%v, %s", err, shown)
	}
	contains(t, shown, job+"  refused (c, attempt 0, ", "0 of 1 jobs retried")
	if story := o.EventNames(o.bus, job); story[len(story)-1] != event.NameFailed {
		t.Errorf("story %v", story)
	}
}

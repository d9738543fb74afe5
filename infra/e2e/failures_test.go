package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/nats-io/nats.go"

	analyzer "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/invariants"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/infra/internal/natsauth"
	"sori.internal/shared/deadletter"
	"sori.internal/shared/event"
	"sori.internal/shared/joblog"
	"sori.internal/shared/staging"
	"sori.internal/shared/testkit"
)

// withStorageBehind starts a Sori that connects to S3 through a proxy.
func withStorageBehind(t *testing.T, settings map[string]string) (*harnesstest.Env, *testkit.Proxy) {
	t.Helper()
	k := testkit.New(t)
	proxy := k.Proxy(k.Settings(nil)["S3_ENDPOINT"])
	all := map[string]string{"S3_ENDPOINT": proxy.URL}
	for name, value := range settings {
		all[name] = value
	}
	return harnesstest.Start(t, harnesstest.Options{Settings: all}), proxy
}

// checkNothingIsLeft waits until the uploader has handled all events, and checks that a
// job that was never stored has left no data.
func checkNothingIsLeft(t *testing.T, w *harnesstest.Env, job string) {
	t.Helper()
	w.Settled("uploader-received")
	client, bucket := w.Bucket()
	objects, err := invariants.Checker{S3: client, Bucket: bucket}.Objects(w.Context())
	if err != nil || objects[job] != 0 {
		t.Errorf("objects %v, %v", objects, err)
	}
	entries, err := staging.New(w.Bus("test", event.Staging())).Entries(w.Context())
	if err != nil || len(entries) != 0 {
		t.Errorf("staging holds %v, %v", entries, err)
	}
}

func TestAJobWaitsForStorageUntilItsDeadlineAndThenFailsAndLeavesNothing(t *testing.T) {
	t.Parallel()
	const deadline = 3 * time.Second
	w, storage := withStorageBehind(t, map[string]string{"DISPATCH_DEADLINE": deadline.String(), "DEADLINE_SWEEP_INTERVAL": "100ms"})
	storage.Cut()
	job := w.Upload(t, "a.wav", loadgen.Tone(220, time.Second))
	frames := w.Follow(w.Context(), t, job, "en")
	for i, f := range frames {
		if last := i == len(frames)-1; last != (f.Status == "failed") || !last && f.Status != "processing" {
			t.Errorf("frame %d of %d: %+v", i+1, len(frames), f)
		}
	}
	var f failure
	w.Result(t, job, &f)
	if f.Status != "failed" || f.Error.Code != "dispatch-timeout" || f.Error.Retryable {
		t.Errorf("%+v", f)
	}
	log, err := joblog.New(w.Bus("test", event.Jobs())).Read(w.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	if waited := log[len(log)-1].Time.Sub(log[0].Time); waited < deadline {
		t.Errorf("it failed after %v", waited)
	}
	if told := names(history(t, w, job)); told != "received, failed 0" {
		t.Error(told)
	}
	storage.Restore()
	checkNothingIsLeft(t, w, job)
	if status, body := ask(t, w, job, "retry"); status != http.StatusConflict || body["code"] != "job-not-retryable" {
		t.Errorf("%d %v", status, body)
	}
}

// letters waits for dead letters of a job and returns them, with their bodies.
func letters(t *testing.T, w *harnesstest.Env, job string, n int) []deadletter.DeadLetter {
	t.Helper()
	b := w.Bus("test", event.Jobs(), event.Dead())
	var found []deadletter.DeadLetter
	testkit.Eventually(t, func() error {
		all, err := deadletter.New(b).List(w.Context(), "")
		if err != nil {
			return err
		}
		found = slices.DeleteFunc(all, func(l deadletter.DeadLetter) bool { return l.Job != job })
		if len(found) != n {
			return fmt.Errorf("%d letters: %+v", len(found), found)
		}
		return nil
	})
	for i, l := range found {
		full, err := deadletter.New(b).Get(w.Context(), l.Seq)
		if err != nil {
			t.Fatal(err)
		}
		found[i] = full
	}
	return found
}

func TestAPoisonousEventEndsItsJobAloneAndIsKeptWithItsReason(t *testing.T) {
	t.Parallel()
	const traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	w, storage := withStorageBehind(t, nil)
	storage.Cut() // so that the uploader does not publish the event stored before the test does
	job, other := w.Upload(t, "a.wav", loadgen.Tone(220, time.Second)), w.Upload(t, "b.wav", loadgen.Tone(220, time.Second))
	poison := nats.NewMsg(w.Namespace().Subject(event.SubjectOf(job, event.NameStored)))
	poison.Data, poison.Header["traceparent"] = []byte(`{"job_id":"`+job+`","token_id":"`), []string{"00-" + traceID + "-00f067aa0ba902b7-01"}
	ack, err := w.JetStream().PublishMsg(w.Context(), poison)
	if err != nil {
		t.Fatal(err)
	}
	frames := w.Follow(w.Context(), t, job, "en")
	if end := frames[len(frames)-1]; end.Status != "failed" {
		t.Errorf("the end is %+v", end)
	}
	var f failure
	w.Result(t, job, &f)
	// The code depends on which service handled the event first.
	if f.Status != "failed" || f.Error.Code != "unreadable-event" && f.Error.Code != "unprojectable" {
		t.Errorf("%+v", f)
	}
	storage.Restore()
	harnesstest.CheckFrames(t, w.Follow(w.Context(), t, other, "en"))
	checkNothingIsLeft(t, w, job)

	kept := letters(t, w, job, 2)
	for _, l := range kept {
		if l.Code != "unreadable-event" || l.Reason == "" || l.EventSeq != ack.Sequence || l.Trace != traceID ||
			l.Subject != event.SubjectOf(job, event.NameStored) || string(l.Body) != string(poison.Data) || l.Deliveries < 1 {
			t.Errorf("%+v", l)
		}
		if err := w.Bus(natsauth.Operator).Replay(w.Context(), l.Consumer, l.EventSeq); err == nil {
			t.Errorf("%s can read it now", l.Consumer)
		}
	}
	consumers := []string{kept[0].Consumer, kept[1].Consumer}
	if slices.Sort(consumers); !slices.Equal(consumers, []string{"dispatcher-stored", "tracker-projection"}) {
		t.Errorf("given up by %v", consumers)
	}
	letters(t, w, job, 2)
	if told := names(history(t, w, job)); told != "received, stored, failed 0" {
		t.Error(told)
	}
}

func TestAnEventThatWasGivenUpIsReplayedOnceItsCauseIsMended(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Behaviour: analyzer.Behaviour{Instant: true}})
	db, err := sqlx.Open("postgres", w.Database())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	change := func(query string) {
		t.Helper()
		if _, err := db.ExecContext(w.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	change(`ALTER TABLE tracker.analysis_results ADD CONSTRAINT poison CHECK (status <> 'completed')`)
	job := w.Upload(t, "a.wav", loadgen.Tone(220, time.Second))
	frames := w.Follow(w.Context(), t, job, "en")
	if end := frames[len(frames)-1]; end.Status != "failed" {
		t.Errorf("the end is %+v", end)
	}
	var f failure
	if w.Result(t, job, &f); f.Error.Code != "unprojectable" {
		t.Errorf("%+v", f)
	}
	l := letters(t, w, job, 1)[0]
	if l.Consumer != "tracker-projection" || l.Code != "data-refused" || l.Subject != event.SubjectOf(job, event.NameCompleted) {
		t.Errorf("%+v", l)
	}
	b := w.Bus(natsauth.Operator) // the services may respond only to requests of the operator
	if err := b.Replay(w.Context(), l.Consumer, l.EventSeq); err == nil {
		t.Error("it is taken while its cause is there")
	}
	change(`ALTER TABLE tracker.analysis_results DROP CONSTRAINT poison`)
	if err := b.Replay(w.Context(), l.Consumer, l.EventSeq); err != nil {
		t.Fatal(err)
	}
	harnesstest.CheckFrames(t, w.Follow(w.Context(), t, job, "en"))
	if h := history(t, w, job); h[len(h)-1].Name() != event.NameCompleted {
		t.Error(names(h))
	}
}

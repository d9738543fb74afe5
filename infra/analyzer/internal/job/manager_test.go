package job_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/infra/analyzer/internal/job"
)

// manage runs a manager with the given analyser until stop is called or the test ends. stop waits until Run has
// returned.
func manage(t *testing.T, settings job.Settings, analyse job.Analyser) (m *job.Manager, stop func()) {
	t.Helper()
	if settings.Retention == (job.Retention{}) {
		settings.Retention = job.Retention{Jobs: 100, Bytes: 1 << 20, Age: time.Hour}
	}
	m = job.NewManager(settings, analyse, notifier(t, 2), &job.BehaviourState{}, zerolog.Nop())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = m.Run(ctx)
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return m, stop
}

func receiver(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestQueueIsBoundedUntilJobsAreDelivered(t *testing.T) {
	t.Parallel()
	free := make(chan struct{})
	m, _ := manage(t, job.Settings{QueueSize: 2, Grace: time.Minute}, func(context.Context, job.Request, func(int, string)) (json.RawMessage, error) {
		<-free
		return json.RawMessage(`{}`), nil
	})
	req := job.Request{WebhookURL: receiver(t)}
	var receipts []job.Receipt
	for range 2 {
		r, err := m.Submit(req)
		if err != nil {
			t.Fatal(err)
		}
		receipts = append(receipts, r)
	}
	if _, err := m.Submit(req); !errors.Is(err, job.ErrFull) {
		t.Errorf("third job: %v", err)
	}
	close(free)
	for _, r := range receipts {
		<-r.Delivered()
	}
	if _, err := m.Submit(req); err != nil {
		t.Errorf("after delivery: %v", err)
	}
}

func TestStopFinishesTheWorkInHandAndRefusesMore(t *testing.T) {
	t.Parallel()
	started, free := make(chan struct{}), make(chan struct{})
	m, stop := manage(t, job.Settings{QueueSize: 2, Grace: time.Minute}, func(context.Context, job.Request, func(int, string)) (json.RawMessage, error) {
		close(started)
		<-free
		return json.RawMessage(`{"a":1}`), nil
	})
	r, err := m.Submit(job.Request{WebhookURL: receiver(t)})
	if err != nil {
		t.Fatal(err)
	}
	<-started
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop()
	}()
	close(free)
	<-stopped
	if s, ok := m.Status(r.ID); !ok || s.Status != job.StatusCompleted {
		t.Errorf("%+v", s)
	}
	if _, err := m.Submit(job.Request{}); !errors.Is(err, job.ErrStopping) {
		t.Errorf("after the stop: %v", err)
	}
}

func TestGraceEndsWorkThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	started := make(chan struct{})
	m, stop := manage(t, job.Settings{QueueSize: 1, Grace: time.Millisecond}, func(ctx context.Context, _ job.Request, _ func(int, string)) (json.RawMessage, error) {
		close(started)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	r, err := m.Submit(job.Request{WebhookURL: receiver(t)})
	if err != nil {
		t.Fatal(err)
	}
	<-started
	stop()
	if s, _ := m.Status(r.ID); s.Status != job.StatusProcessing {
		t.Errorf("an abandoned job reads %q: shutdown is no failure", s.Status)
	}
}

func TestRetentionForgetsTheOldest(t *testing.T) {
	t.Parallel()
	m, _ := manage(t, job.Settings{QueueSize: 9, Grace: time.Minute, Retention: job.Retention{Jobs: 2, Bytes: 1 << 20, Age: time.Hour}},
		func(context.Context, job.Request, func(int, string)) (json.RawMessage, error) {
			return json.RawMessage(`{}`), nil
		})
	var ids []string
	for _, id := range []string{"a", "b", "c"} {
		r, err := m.Submit(job.Request{WebhookURL: receiver(t), CallerID: id, IdempotencyKey: id})
		if err != nil {
			t.Fatal(err)
		}
		<-r.Delivered()
		ids = append(ids, r.ID)
	}
	for i, want := range []bool{false, true, true} {
		_, own := m.Status(ids[i])
		_, callers := m.Status([]string{"a", "b", "c"}[i])
		if own != want || callers != want {
			t.Errorf("job %d: %v, %v; want %v", i, own, callers, want)
		}
	}
	r, err := m.Submit(job.Request{WebhookURL: receiver(t), IdempotencyKey: "c"})
	if err != nil || !r.Replayed || r.ID != ids[2] {
		t.Errorf("replay: %+v, %v", r, err)
	}
}

func TestResultsAreBoundedInBytes(t *testing.T) {
	t.Parallel()
	m, _ := manage(t, job.Settings{QueueSize: 9, Grace: time.Minute, Retention: job.Retention{Jobs: 99, Bytes: 10, Age: time.Hour}},
		func(context.Context, job.Request, func(int, string)) (json.RawMessage, error) {
			return json.RawMessage(`"12345678"`), nil
		})
	url := receiver(t)
	for _, id := range []string{"a", "b"} {
		r, err := m.Submit(job.Request{WebhookURL: url, CallerID: id})
		if err != nil {
			t.Fatal(err)
		}
		<-r.Delivered()
	}
	_, a := m.Status("a")
	_, b := m.Status("b")
	if a || !b {
		t.Errorf("a %v, b %v; want the newer alone", a, b)
	}
}

func TestACanceledJobEndsAndIsForgotten(t *testing.T) {
	t.Parallel()
	begun, ended := make(chan struct{}, 2), make(chan error, 2)
	m, _ := manage(t, job.Settings{QueueSize: 1}, func(ctx context.Context, _ job.Request, _ func(int, string)) (json.RawMessage, error) {
		begun <- struct{}{}
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return nil, ctx.Err()
	})
	called := make(chan struct{}, 10)
	hook := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called <- struct{}{} }))
	t.Cleanup(hook.Close)
	r, err := m.Submit(job.Request{WebhookURL: hook.URL, CallerID: "caller", IdempotencyKey: "key"})
	if err != nil {
		t.Fatal(err)
	}
	<-begun
	if !m.Cancel("caller") {
		t.Error("not known by the caller's id")
	}
	if err := <-ended; err == nil || err.Error() != "canceled by the caller" {
		t.Errorf("ended with %v", err)
	}
	<-r.Delivered()
	if _, known := m.Status(r.ID); known || m.Cancel(r.ID) {
		t.Error("still known")
	}
	if len(called) > 0 {
		t.Error("called back")
	}
	if _, err := m.Submit(job.Request{WebhookURL: hook.URL}); err != nil {
		t.Errorf("its place in the queue is not free: %v", err)
	}
}

func TestTheResultOfACanceledJobIsForgotten(t *testing.T) {
	t.Parallel()
	m, _ := manage(t, job.Settings{QueueSize: 2, Retention: job.Retention{Jobs: 100, Bytes: 25, Age: time.Hour}},
		func(context.Context, job.Request, func(int, string)) (json.RawMessage, error) {
			return json.RawMessage(`{"result":"x"}`), nil
		})
	submit := func() job.Receipt {
		t.Helper()
		r, err := m.Submit(job.Request{WebhookURL: receiver(t)})
		if err != nil {
			t.Fatal(err)
		}
		<-r.Delivered()
		return r
	}
	first := submit()
	if !m.Cancel(first.ID) || m.Cancel(first.ID) {
		t.Error("not canceled once")
	}
	if _, known := m.Status(submit().ID); !known {
		t.Error("a later job is not known")
	}
	if _, known := m.Status(first.ID); known {
		t.Error("the canceled job is known")
	}
}

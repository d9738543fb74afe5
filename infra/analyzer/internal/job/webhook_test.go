package job_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"sori.internal/infra/analyzer/internal/job"
)

func notifier(t *testing.T, attempts int) *job.Notifier {
	t.Helper()
	n := job.NewNotifier(job.WebhookSettings{
		Attempts: attempts, Backoff: time.Millisecond, MaxBackoff: 4 * time.Millisecond, Timeout: 5 * time.Second, Concurrency: 4,
	})
	t.Cleanup(n.Close)
	return n
}

func TestEveryStatusHasItsVerdict(t *testing.T) {
	t.Parallel()
	for status, tries := range map[int]int32{
		200: 1, 202: 1, 204: 1, 302: 1, 400: 1, 401: 1, 404: 1, 409: 1, 413: 1, 408: 3, 425: 3, 429: 3, 500: 3, 502: 3, 503: 3, 504: 3,
	} {
		var calls atomic.Int32
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			calls.Add(1)
			w.Header().Set("Location", "/elsewhere")
			w.Header().Set("Retry-After", "9999") // Send must wait for MaxBackoff only
			w.WriteHeader(status)
		}))
		err := notifier(t, 3).Send(t.Context(), job.Request{WebhookURL: s.URL}, []byte("{}"), 3)
		if calls.Load() != tries || (err == nil) != (status < 300) || errors.Is(err, job.ErrRefused) != (status >= 300 && tries == 1) {
			t.Errorf("status %d: %d tries, %v; want %d tries", status, calls.Load(), err, tries)
		}
		s.Close()
	}
}

func TestURLAndTraceArePassedOnAsGiven(t *testing.T) {
	t.Parallel()
	const query = "job_id=a%2Fb&attempt=1&sig=x+y%3D%3D&&z"
	got := make(chan *http.Request, 1)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r }))
	defer s.Close()
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	req := job.Request{WebhookURL: s.URL + "/a%2Fb/?" + query, TraceParent: trace, TraceState: "k=v"}
	if err := notifier(t, 1).Send(t.Context(), req, []byte("{}"), 1); err != nil {
		t.Fatal(err)
	}
	r := <-got
	if r.RequestURI != "/a%2Fb/?"+query || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %s %v", r.Method, r.RequestURI, r.Header)
	}
	if r.Header.Get("Traceparent") != trace || r.Header.Get("Tracestate") != "k=v" {
		t.Errorf("headers %v", r.Header)
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-1": 0, "soon": 0,
		now.Add(time.Minute).Format(http.TimeFormat): time.Minute, now.Add(-time.Minute).Format(http.TimeFormat): 0,
	} {
		if got := job.RetryAfter(http.Header{"Retry-After": {value}}, now); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

func TestBehaviourIsCheckedAndReadsDurations(t *testing.T) {
	t.Parallel()
	var b job.Behaviour
	if err := json.Unmarshal([]byte(`{"delay":"1.5s","accept_delay":0.25,"reject_status":503}`), &b); err != nil {
		t.Fatal(err)
	}
	if time.Duration(b.Delay) != 1500*time.Millisecond || time.Duration(b.AcceptDelay) != 250*time.Millisecond || b.Check() != nil {
		t.Errorf("%+v, %v", b, b.Check())
	}
	for _, bad := range []job.Behaviour{{Delay: -1}, {RejectStatus: 200}, {RejectStatus: 999}, {RepeatCallbacks: -1}, {RepeatCallbacks: 1 << 30}} {
		var behaviour job.BehaviourState
		if err := behaviour.Set(bad); !errors.Is(err, job.ErrBehaviour) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	for _, bad := range []string{`{"delay":"x"}`, `{"delay":[]}`} {
		if json.Unmarshal([]byte(bad), &b) == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

func TestRefusalsAreCounted(t *testing.T) {
	t.Parallel()
	var behaviour job.BehaviourState
	if err := behaviour.Set(job.Behaviour{RejectStatus: 503, RejectFirst: 2}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, true, false, false} {
		if _, _, ok := behaviour.Reject(); ok != want {
			t.Errorf("call %d: %v", i, ok)
		}
	}
}

package scenario

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sori.internal/shared/media"
	"sori.internal/shared/testkit"
)

// attackerOf starts a server with the handler, and returns a client of that server.
func attackerOf(t *testing.T, handler http.HandlerFunc) *attacker {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	a := newAttacker(server.URL, "key", "198.51.100.7", 3)
	t.Cleanup(a.close)
	return a
}

func TestEveryAttackHasANameAndSaysWhatItDoes(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	stub := false
	for _, one := range AllAttacks() {
		if one.Name == "" || one.about == "" || one.run == nil || names[one.Name] {
			t.Errorf("%+v", one)
		}
		if stub && !one.stub {
			t.Errorf("%s is after an attack with a stub: the analysis server would be exchanged again", one.Name)
		}
		names[one.Name], stub = true, one.stub
	}
}

func TestARequestHasTheKeyAndTheAddressAndItsAnswerIsCounted(t *testing.T) {
	t.Parallel()
	a := attackerOf(t, func(w http.ResponseWriter, r *http.Request) {
		anonymous := r.URL.Path == "/anonymous"
		if r.Header.Get("X-Forwarded-For") != "198.51.100.7" || (r.Header.Get("Authorization") == "Bearer key") == anonymous {
			t.Errorf("%v", r.Header)
		}
		switch r.URL.Path {
		case "/busy":
			w.WriteHeader(http.StatusTooManyRequests)
		case "/cut":
			panic(http.ErrAbortHandler)
		case uploadToThree:
			w.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(w, `{"job_id":"j"}`)
		}
	})
	for _, path := range []string{"/", "/busy", "/busy", "/cut"} {
		a.send(t.Context(), request{method: http.MethodGet, path: path}, nil)
	}
	a.send(t.Context(), request{method: http.MethodGet, path: "/anonymous", anonymous: true}, nil)
	if job := a.upload(t.Context(), "a.wav", []byte("x")); job != "j" {
		t.Errorf("job %q", job)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	a.send(over, request{method: http.MethodGet, path: "/"}, nil)
	want := map[string]int{"200": 2, "202": 1, "429": 2, broken: 1, unanswered: 1}
	if got := a.answers(); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if a.reset(); len(a.answers()) != 0 {
		t.Error(a.answers())
	}
}

const uploadToThree = "/tokens/3/upload-audio"

func TestRequestsAreRepeatedWithALimitedNumberAtOnce(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	var under, most, calls atomic.Int64
	a := newAttacker("", "", "", 0)
	a.repeat(ctx, 3, 10_000, func(ctx context.Context, _ int) {
		now := under.Add(1)
		defer under.Add(-1)
		for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
		}
		switch n := calls.Add(1); {
		case n == 50:
			stop()
		case n <= 3: // calls 2 and 3 return only at the end; call 1 frees its slot
			if n > 1 {
				<-ctx.Done()
			}
		}
	})
	if most.Load() > 3 || calls.Load() < 50 || under.Load() != 0 {
		t.Errorf("%d at once, %d calls, %d under way", most.Load(), calls.Load(), under.Load())
	}
}

func TestAConnectionIsHeldUntilItIsAnsweredOrTheAttackEnds(t *testing.T) {
	t.Parallel()
	const slow, refused = 5, 3
	var reading, closed atomic.Int64
	a := attackerOf(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refused" {
			w.Header().Set("Connection", "close") // otherwise net/http reads the request body before it answers
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		reading.Add(1)
		defer closed.Add(1)
		if body, err := io.ReadAll(r.Body); err == nil || !strings.HasPrefix(string(body), "begin") {
			t.Errorf("%q %v", body, err)
		}
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.hold(ctx, slow+refused, func(i int) held {
			path := "/"
			if i >= slow {
				path = "/refused"
			}
			return held{
				request: request{method: http.MethodPost, path: path, contentType: "text/plain", body: []byte("begin")},
				length:  1000, trickle: true, reads: true, again: time.Hour,
			}
		})
	}()
	testkit.Eventually(t, func() error {
		if n := reading.Load(); n != slow || a.answers()["401"] != refused {
			return context.DeadlineExceeded
		}
		return nil
	})
	stop()
	<-done
	if got := a.answers(); !maps.Equal(got, map[string]int{unanswered: slow, "401": refused}) {
		t.Error(got)
	}
	testkit.Eventually(t, func() error {
		if closed.Load() != slow {
			return context.DeadlineExceeded
		}
		return nil
	})
}

func TestAnAnswerThatIsNotReadKeepsItsConnection(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{})
	a := attackerOf(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(gone)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.hold(ctx, 1, func(int) held { return held{request: request{method: http.MethodGet, path: "/"}} })
	}()
	testkit.Eventually(t, func() error {
		if a.answers()["200"] != 1 {
			return context.DeadlineExceeded
		}
		return nil
	})
	select {
	case <-gone:
		t.Error("the connection was closed before the end")
	default:
	}
	stop()
	<-done
	<-gone
}

// The file must stay within the limits: the gateway and the analyzer refuse a file with more samples, or of an unknown
// type, before it costs anything.
func TestTheFileOfManySamplesIsSmallAndWithinTheLimits(t *testing.T) {
	t.Parallel()
	file := samplesFLAC()
	meter := media.NewMeter(int64(len(file)))
	_, _ = meter.Write(file)
	info := meter.Info()
	if len(file) > 200_000 || info.MediaType != "audio/flac" || info.Duration < 2*time.Hour || info.Duration > 3*time.Hour {
		t.Errorf("%d bytes, %+v", len(file), info)
	}
}

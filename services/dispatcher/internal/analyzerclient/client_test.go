package analyzerclient_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/services/dispatcher/internal/analyzerclient"
	"sori.internal/shared/fault"
)

// client is a client of a stub of the analysis server. It sends one request at a time.
func client(t *testing.T, timeout time.Duration, answer http.HandlerFunc) *analyzerclient.Client {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	target, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return analyzerclient.New(analyzerclient.Options{
		Target: target, Format: analyzerclient.Form, Timeout: timeout, Concurrency: 1, BreakerFailures: 1, BreakerDelay: time.Hour, Log: zerolog.Nop(),
		MaxStatusBytes: 1000,
	})
}

func TestARequestThatIsCanceledWhileItWaitsForTheSemaphoreLeavesItFree(t *testing.T) {
	t.Parallel()
	reached, release := make(chan struct{}), make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	t.Cleanup(free)
	c := client(t, time.Minute, func(w http.ResponseWriter, _ *http.Request) {
		reached <- struct{}{}
		<-release
		w.WriteHeader(http.StatusAccepted)
	})
	first := make(chan error, 1)
	go func() {
		_, err := c.Submit(t.Context(), analysis.Request{JobID: "1", Attempt: 1})
		first <- err
	}()
	<-reached
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	for range 5 {
		if _, err := c.Submit(ctx, analysis.Request{JobID: "2", Attempt: 1}); !fault.Is(err, fault.Unavailable) {
			t.Errorf("while it waits: %v", err)
		}
	}
	free()
	if err := <-first; err != nil || c.BreakerOpen() != 0 {
		t.Errorf("the first: %v, breaker %v", err, c.BreakerOpen())
	}
	go func() { <-reached }()
	if _, err := c.Submit(t.Context(), analysis.Request{JobID: "3", Attempt: 1}); err != nil {
		t.Errorf("the next: %v", err)
	}
}

// Some frameworks redirect a path without its final slash, and some servers answer 202 while an
// analysis is running. Both answers of the status URL must be accepted.
func TestTheStatusURLMayRedirectAndAnswerWithAnySuccess(t *testing.T) {
	t.Parallel()
	for _, code := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/7" {
				http.Redirect(w, r, "/7/", code)
				return
			}
			w.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(w, `{"status":"running"}`)
		}))
		t.Cleanup(s.Close)
		target, err := url.Parse(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		c := analyzerclient.New(analyzerclient.Options{
			Target: target, Timeout: time.Minute, Concurrency: 1, BreakerFailures: 1, Log: zerolog.Nop(),
			Status: analyzerclient.StatusURL(s.URL + "/{job_id}"), MaxStatusBytes: 1000,
		})
		if answer, err := c.Status(t.Context(), "7", ""); err != nil || string(answer) != `{"status":"running"}` {
			t.Errorf("%d: %s, %v", code, answer, err)
		}
		if _, err := c.Submit(t.Context(), analysis.Request{JobID: "1", Attempt: 1}); err != nil {
			t.Errorf("%d: %v", code, err)
		}
	}
}

func TestAnAnswerOfTheStatusURLSaysWhetherTheStateMayBeKnownLater(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status     int
		retryAfter string
		later      bool
		least      time.Duration // RetryAfter of the error
		is         error
	}{
		"429":                {http.StatusTooManyRequests, "", true, 30 * time.Second, nil},
		"429 and seconds":    {http.StatusTooManyRequests, "7", true, 7 * time.Second, nil},
		"429 and a date":     {http.StatusTooManyRequests, time.Now().UTC().Add(time.Minute).Format(http.TimeFormat), true, 50 * time.Second, nil},
		"503 and seconds":    {http.StatusServiceUnavailable, "7", true, 7 * time.Second, nil},
		"502 of a proxy":     {http.StatusBadGateway, "", true, 0, nil},
		"500":                {http.StatusInternalServerError, "", false, 0, nil},
		"401":                {http.StatusUnauthorized, "", false, 0, nil},
		"404":                {http.StatusNotFound, "", false, 0, analysis.ErrUnknownAnalysis},
		"202 without a body": {http.StatusAccepted, "", false, 0, analysis.ErrUnfinished},
		"204":                {http.StatusNoContent, "", false, 0, analysis.ErrUnfinished},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if c.retryAfter != "" {
				w.Header().Set("Retry-After", c.retryAfter)
			}
			w.WriteHeader(c.status)
		}))
		t.Cleanup(s.Close)
		target, err := url.Parse(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		status := analyzerclient.New(analyzerclient.Options{
			Target: target, Concurrency: 1, BreakerFailures: 1, Log: zerolog.Nop(), Status: analyzerclient.StatusURL(s.URL + "/{job_id}"), MaxStatusBytes: 1000,
		})
		_, err = status.Status(t.Context(), "7", "")
		if err == nil || fault.Is(err, fault.Unavailable) != c.later || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v", name, err)
		} else if got := fault.As(err).RetryAfter; c.later && (got < c.least || got > c.least+10*time.Second) {
			t.Errorf("%s: after %v", name, got)
		}
	}
}

func TestARedirectThatDropsTheRequestSaysWhatToCorrect(t *testing.T) {
	t.Parallel()
	for code, redirects := range map[int]bool{
		http.StatusMovedPermanently: true, http.StatusFound: true, http.StatusSeeOther: true, http.StatusTemporaryRedirect: true, http.StatusBadRequest: false,
	} {
		c := client(t, time.Minute, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", r.URL.Path) // an endless redirect to the same path
			w.WriteHeader(code)
		})
		_, err := c.Submit(t.Context(), analysis.Request{JobID: "1", Attempt: 1})
		rejected, ok := errors.AsType[*analysis.RejectedError](err)
		if !ok || strings.Contains(rejected.Reason, "TARGET_SERVER_URL must be the URL") != redirects {
			t.Errorf("%d: %v", code, err)
		}
	}
}

// The body of a rejection is decoded like that of any other answer.
func TestTheReasonOfARejectionIsReadInAnyCharset(t *testing.T) {
	t.Parallel()
	const problem = `{"code":"bad-audio","detail":"no speech","retryable":true}`
	for name, c := range map[string]struct{ body, kind, encoding, code, reason string }{
		"a byte order mark": {"\xef\xbb\xbf" + problem, "application/problem+json", "", "bad-audio", "status 400: no speech"},
		"UTF-16":            {"\xff\xfe" + strings.Join(strings.Split(problem, ""), "\x00") + "\x00", "application/json", "", "bad-audio", "status 400: no speech"},
		"EUC-KR":            {"\xbc\xd2\xb8\xae", "text/plain; charset=euc-kr", "", "analysis-rejected", "status 400: 소리"},
		"a form":            {"code=bad-audio&detail=no+speech&retryable=true", "application/x-www-form-urlencoded", "", "bad-audio", "status 400: no speech"},
		"no known encoding": {"no speech", "text/plain", "br", "analysis-rejected", "status 400: no speech"},
	} {
		s := client(t, time.Minute, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", c.kind)
			w.Header().Set("Content-Encoding", c.encoding)
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, c.body)
		})
		_, err := s.Submit(t.Context(), analysis.Request{JobID: "1", Attempt: 1})
		rejected, ok := errors.AsType[*analysis.RejectedError](err)
		if !ok || rejected.Code != c.code || !strings.HasSuffix(rejected.Reason, c.reason) || rejected.Retryable != (c.code == "bad-audio") {
			t.Errorf("%s: %+v", name, err)
		}
	}
}

// net/http sends a request again by itself if a reused connection breaks: the server may have read the
// request and be handling it.
func TestAConflictAfterABrokenConnectionIsMarkedAsRepeated(t *testing.T) {
	t.Parallel()
	var requests, breaks atomic.Int32
	c := client(t, time.Minute, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		switch n := requests.Add(1); {
		case n == 1: // its connection is reused
		case n == 2 && breaks.Load() == 1:
			panic(http.ErrAbortHandler)
		case r.URL.Path == "/":
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		default:
			w.WriteHeader(http.StatusConflict)
		}
	})
	for _, broken := range []bool{true, false} {
		requests.Store(0)
		breaks.Add(1)
		if _, err := c.Submit(t.Context(), analysis.Request{JobID: "1", Attempt: 1}); err != nil {
			t.Fatal(err)
		}
		_, err := c.Submit(t.Context(), analysis.Request{JobID: "2", Attempt: 1})
		rejected, ok := errors.AsType[*analysis.RejectedError](err)
		if !ok || !rejected.Conflict || rejected.Repeated != broken {
			t.Errorf("broken: %v, requests %d: %+v", broken, requests.Load(), err)
		}
	}
}

// Some servers keep a stream of events open after the last one, or state a wrong Content-Length.
func TestTheObjectInAnAnswerWithoutAnEndIsReturned(t *testing.T) {
	t.Parallel()
	const object = `{"job_id":"a-17","result":{"a":1}}`
	for name, c := range map[string]struct{ kind, body, want string }{
		"an object":          {"application/json", object, object},
		"half an object":     {"application/json", object[:len(object)-1], ""},
		"events":             {"text/event-stream", "data: " + object + "\n\n", object},
		"events and a half":  {"text/event-stream", "data: " + object + "\n\ndata: {\"job_id\":", object},
		"lines and a half":   {"application/x-ndjson", object + "\n" + object + "\n{", ""},
		"half of a form":     {"application/x-www-form-urlencoded", "status=ok&job_id=a", ""},
		"an object, as form": {"application/x-www-form-urlencoded", object, ""},
	} {
		cut := client(t, time.Minute, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", c.kind)
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, c.body)
		})
		open := client(t, 100*time.Millisecond, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", c.kind)
			_, _ = io.WriteString(w, c.body)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		})
		for way, s := range map[string]*analyzerclient.Client{"cut": cut, "open": open} {
			a, err := s.Submit(t.Context(), analysis.Request{JobID: "1", Attempt: 1})
			if err != nil || string(a.Answer) != c.want || a.Unread == nil || (a.ServerID != "") != (c.want != "") {
				t.Errorf("%s, %s: %+v, %s, %v", name, way, a, a.Answer, err)
			}
		}
	}
}

func TestARequestTimeoutIsAFailureOfTheServerAndACanceledRequestIsNot(t *testing.T) {
	t.Parallel()
	hang := func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // net/http notices a disconnected client only after the body is read
		<-r.Context().Done()
	}
	slow := client(t, time.Minute, hang)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := slow.Submit(ctx, analysis.Request{JobID: "1", Attempt: 1}); !fault.Is(err, fault.Unavailable) || slow.BreakerOpen() != 0 {
		t.Errorf("we canceled: %v, breaker %v", err, slow.BreakerOpen())
	}
	fast := client(t, 50*time.Millisecond, hang)
	_, err := fast.Submit(t.Context(), analysis.Request{JobID: "1", Attempt: 1})
	if f := fault.As(err); f == nil || f.Code != "analysis-unavailable" || f.RetryAfter < 59*time.Minute || fast.BreakerOpen() != 1 {
		t.Errorf("it timed out: %v, breaker %v", err, fast.BreakerOpen())
	}
}

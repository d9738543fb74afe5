package server_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/services/dispatcher/internal/server"
	"sori.internal/shared/fault"
)

// client asks a server that answers as the test says, one request at a time.
func client(t *testing.T, timeout time.Duration, answer http.HandlerFunc) *server.Client {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	target, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return server.New(server.Options{
		Target: target, Format: server.Form, Timeout: timeout, Concurrency: 1, Failures: 1, Rest: time.Hour, Log: zerolog.Nop(),
	})
}

func TestWhoeverLeavesWhileItWaitsForItsTurnTakesNothingAlong(t *testing.T) {
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
			t.Errorf("without a turn: %v", err)
		}
	}
	free()
	if err := <-first; err != nil || c.Resting() != 0 {
		t.Errorf("the first: %v, resting %v", err, c.Resting())
	}
	go func() { <-reached }()
	if _, err := c.Submit(t.Context(), analysis.Request{JobID: "3", Attempt: 1}); err != nil {
		t.Errorf("the next: %v", err)
	}
}

func TestAServerThatHangsHasFailedAndWeThatHangUpHaveNot(t *testing.T) {
	t.Parallel()
	hang := func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then is it known that a client has left
		<-r.Context().Done()
	}
	patient := client(t, time.Minute, hang)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := patient.Submit(ctx, analysis.Request{JobID: "1", Attempt: 1}); !fault.Is(err, fault.Unavailable) || patient.Resting() != 0 {
		t.Errorf("we hung up: %v, resting %v", err, patient.Resting())
	}
	hasty := client(t, 50*time.Millisecond, hang)
	_, err := hasty.Submit(t.Context(), analysis.Request{JobID: "1", Attempt: 1})
	if f := fault.As(err); f == nil || f.Code != "analysis-unavailable" || f.RetryAfter < 59*time.Minute || hasty.Resting() != 1 {
		t.Errorf("it hung: %v, resting %v", err, hasty.Resting())
	}
}

package app_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sori.internal/shared/testkit"
)

// replicas starts a gateway whose tracker is a stub. Each connection to it is answered by the next
// handler.
func replicas(t *testing.T, changes map[string]string, each ...http.HandlerFunc) (*env, func() int) {
	t.Helper()
	var taken atomic.Int64
	g, _ := startWithUpstream(t, changes, func(w http.ResponseWriter, r *http.Request) {
		n := int(taken.Add(1))
		if n > len(each) {
			t.Errorf("connection %d: %s", n, r.Header.Get("Last-Event-ID"))
			w.WriteHeader(http.StatusNoContent)
			return
		}
		each[n-1](w, r)
	})
	return g, func() int { return int(taken.Load()) }
}

// says returns a stub tracker. It compares the Last-Event-ID of the request with the parameter from
// and sends the parameter text. Then it ends the stream normally or, if breaks is true, breaks the
// connection.
func says(t *testing.T, from, text string, breaks bool) http.HandlerFunc {
	t.Helper()
	return func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Last-Event-ID"); got != from {
			t.Errorf("asked from %q, not %q", got, from)
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, text)
		_ = http.NewResponseController(w).Flush()
		if breaks {
			panic(http.ErrAbortHandler)
		}
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func TestAStreamIsResumedAtAnotherReplica(t *testing.T) {
	t.Parallel()
	large := "data: " + strings.Repeat("x", 100<<10) + "\n\n"
	const six, seven, end = "id: 6\ndata: 6\n\n", "id: 7\ndata: 7\n\n", "retry: 2000\nid: 8\ndata: end\n\n"
	for name, c := range map[string]struct {
		each []http.HandlerFunc
		want string
	}{
		"it broke":                 {[]http.HandlerFunc{says(t, "5", six, true), says(t, "6", end, false)}, six + end},
		"it broke at once":         {[]http.HandlerFunc{says(t, "5", "", true), says(t, "5", end, false)}, end},
		"it broke before data":     {[]http.HandlerFunc{says(t, "5", six+"retry: 2000\nid: 7\n", true), says(t, "6", seven+end, false)}, six + seven + end},
		"it broke behind a large":  {[]http.HandlerFunc{says(t, "5", "id: 6\n"+large, true), says(t, "6", end, false)}, "id: 6\n" + large + end},
		"it broke twice":           {[]http.HandlerFunc{says(t, "5", six, true), says(t, "6", seven, true), says(t, "7", end, false)}, six + seven + end},
		"it was handed over":       {[]http.HandlerFunc{says(t, "5", six+"retry: 1500\n\n", false), says(t, "6", end, false)}, six + "retry: 1500\n\n" + end},
		"another is late":          {[]http.HandlerFunc{says(t, "5", six, true), status(503), status(502), says(t, "6", end, false)}, six + end},
		"another repeats":          {[]http.HandlerFunc{says(t, "5", six+seven, true), says(t, "7", six+seven+"id: 7\n"+large+": ping\n\n"+end, false)}, six + seven + ": ping\n\n" + end},
		"the end was seen":         {[]http.HandlerFunc{says(t, "5", six, true), status(204)}, six},
		"the job is gone":          {[]http.HandlerFunc{says(t, "5", six, true), status(410)}, six},
		"it ended":                 {[]http.HandlerFunc{says(t, "5", "retry: 2000\n"+six, false)}, "retry: 2000\n" + six},
		"it broke inside an event": {[]http.HandlerFunc{says(t, "5", six+"id: 7\ndata: 7\n", true)}, six + "id: 7\ndata: 7\n"},
		"it broke inside a line":   {[]http.HandlerFunc{says(t, "5", six+"id: 7\n"+large[:50<<10], true)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, taken := replicas(t, nil, c.each...)
			_, body := g.open(g.kit.Context())
			got, err := io.ReadAll(body)
			got = bytes.ReplaceAll(got, []byte(": waiting\n\n"), nil)
			if err != nil || c.want != "" && string(got) != c.want {
				t.Errorf("%.300q, not %.300q; %v", got, c.want, err)
			}
			if taken() != len(c.each) {
				t.Errorf("%d replicas were asked, not %d", taken(), len(c.each))
			}
		})
	}
}

func TestAClientThatLeavesDuringAResumptionIsNoticed(t *testing.T) {
	t.Parallel()
	g, _ := startWithUpstream(t, nil, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Last-Event-ID") != "5" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		says(t, "5", "id: 6\ndata: 6\n\n", true)(w, r)
	})
	ctx, leave := context.WithCancel(g.kit.Context())
	_, body := g.open(ctx)
	block(t, body)
	if got := block(t, body); got != ": waiting\n\n" {
		t.Errorf("while no replica is there: %q", got)
	}
	leave()
	testkit.Eventually(t, func() error {
		if !strings.Contains(g.kit.Logged(), `"path":"`+progress+`","status":200`) {
			return errors.New("the stream goes on")
		}
		return nil
	})
}

// block reads one event: the lines of a stream up to and including the next empty line.
func block(t *testing.T, body *bufio.Reader) string {
	t.Helper()
	var text strings.Builder
	for {
		line, err := body.ReadString('\n')
		text.WriteString(line)
		if err != nil || line == "\n" {
			return text.String()
		}
	}
}

// waitNotListening waits until a gateway that shuts down accepts no connection.
func (g *env) waitNotListening() {
	g.t.Helper()
	testkit.Eventually(g.t, func() error {
		fresh := &http.Transport{DisableKeepAlives: true}
		req, _ := http.NewRequestWithContext(g.kit.Context(), http.MethodGet, g.url+"/livez", nil)
		resp, err := fresh.RoundTrip(req)
		if err != nil {
			return nil //nolint:nilerr // the expected failure
		}
		_ = resp.Body.Close()
		return fmt.Errorf("it still answers: %s", resp.Status)
	})
}

func TestAShutdownKeepsStreamsOfJobsThatEndInTheGrace(t *testing.T) {
	t.Parallel()
	e := newEvents()
	g, _ := startWithUpstream(t, map[string]string{"SHUTDOWN_GRACE": "60s"}, e.serve)
	_, body := g.open(g.kit.Context())
	e.frames <- "id: 6\ndata: 6\n\n"
	block(t, body)
	began, stopped := time.Now(), make(chan error, 1)
	go func() { stopped <- g.stop() }()
	g.waitNotListening()
	e.frames <- "id: 7\ndata: 7\n\n"
	if got := block(t, body); got != "id: 7\ndata: 7\n\n" {
		t.Errorf("after the stop: %q", got)
	}
	close(e.frames) // the tracker ends the stream, since the job has ended
	if rest, err := io.ReadAll(body); err != nil || len(rest) != 0 {
		t.Errorf("the end: %q, %v", rest, err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 40*time.Second { // the shutdown would end open streams only after 42 s, at 7/10 of the grace period
		t.Errorf("the stop took %v though every job had ended", took)
	}
}

func TestAShutdownEndsStreamsWithARetry(t *testing.T) {
	t.Parallel()
	polls := make(chan struct{})
	g, _ := startWithUpstream(t, map[string]string{"SHUTDOWN_GRACE": "5s"}, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/tokens/analysis-result") { // a long poll
			close(polls)
			<-r.Context().Done()
			return
		}
		newEvents().serve(w, r)
	})
	var bodies []*bufio.Reader
	for range 20 {
		_, body := g.open(g.kit.Context())
		bodies = append(bodies, body)
	}
	polled := make(chan reply, 1)
	go func() {
		r, err := g.try(context.WithoutCancel(g.kit.Context()), "GET", result, nil, nil)
		if err != nil {
			r.Response = &http.Response{Status: err.Error()}
		}
		polled <- r
	}()
	<-polls
	began := time.Now()
	if err := g.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took < 3*time.Second {
		t.Errorf("the streams had only %v", took)
	}
	hints := map[string]bool{}
	for _, body := range bodies {
		rest, err := io.ReadAll(body)
		ms, ok := strings.CutPrefix(string(rest), "retry: ")
		if err != nil || !ok || len(ms) != len("1234\n\n") {
			t.Errorf("a stream ended with %q, %v", rest, err)
		}
		hints[ms] = true
	}
	if len(hints) < 5 {
		t.Errorf("all come back at once: %v", hints)
	}
	if r := <-polled; r.StatusCode != 503 {
		t.Errorf("the long poll: %s", r.Status)
	}
	if strings.Contains(g.kit.Logged(), "open requests were cut") {
		t.Error("streams were cut")
	}
}

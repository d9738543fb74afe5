package app_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sori.internal/shared/principal"
	"sori.internal/shared/uploadrequest"
)

// seen has the headers of the requests that an upstream has received.
type seen struct {
	mu  sync.Mutex
	all []http.Header
}

func (s *seen) add(r *http.Request) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, r.Header.Clone())
	return len(s.all)
}

func (s *seen) last() http.Header {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[len(s.all)-1]
}

func (s *seen) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// verified returns the principal that an upstream has received.
func (g *env) verified(h http.Header) (principal.Principal, error) {
	g.t.Helper()
	var cfg principal.Config
	g.kit.Load(&cfg)
	return principal.NewVerifier(cfg, time.Now).Verify(h.Get(principal.Header))
}

func TestAnUpstreamIsToldWhoAsksAndNoCredential(t *testing.T) {
	t.Parallel()
	var s seen
	upstream := func(_ http.ResponseWriter, r *http.Request) { s.add(r) }
	g := secured(t, upstream, nil)
	header := as(token(t, "alice", nil))
	maps.Copy(header, map[string]string{
		principal.Header: "forged", uploadrequest.Header: "forged", "Cookie": "session=1", "Proxy-Authorization": "Basic x", "X-Request-Id": "mine",
		"Connection": "Sori-Principal, x-request-id, X-Forwarded-For, X-Forwarded-Host, traceparent",
	})
	g.do("GET", result, nil, header)
	told := s.last()
	if p, err := g.verified(told); err != nil || p.Owner != "alice" || !slices.Equal(p.Scopes, principal.UserScopes()) {
		t.Errorf("the tracker is told %+v, %v", p, err)
	}
	for _, name := range []string{"Authorization", "Cookie", "Proxy-Authorization", "X-Api-Key", "X-Sori-Denied", uploadrequest.Header} {
		if told.Get(name) != "" {
			t.Errorf("%s passes: %v", name, told)
		}
	}
	if told.Get("X-Request-Id") != "mine" || told.Get("X-Forwarded-For") == "" || told.Get("X-Forwarded-Host") == "" || told.Get("Traceparent") == "" {
		t.Errorf("the client has had headers of the gateway removed: %v", told)
	}
	text, id := g.keyWith(principal.JobsRead)
	g.do("GET", result, nil, map[string]string{"X-Api-Key": text})
	if p, err := g.verified(s.last()); err != nil || p.Owner != "alice" || p.KeyID != id || s.last().Get("X-Api-Key") != "" {
		t.Errorf("of a key: %+v, %v, %v", p, err, s.last())
	}
	g.do("POST", webhook, strings.NewReader("{}"), map[string]string{principal.Header: "forged", "Authorization": "Bearer x", "Content-Type": "application/json"})
	if h := s.last(); h.Get(principal.Header) != "" || h.Get("Authorization") != "" {
		t.Errorf("a callback tells who it is: %v", h)
	}
	open, _ := startWithUpstream(t, nil, upstream)
	open.do("GET", result, nil, map[string]string{principal.Header: "forged", "Authorization": "Bearer x"})
	if p, err := open.verified(s.last()); err != nil || p.Owner != "" || !p.May(principal.Admin) || s.last().Get("Authorization") != "" {
		t.Errorf("of an open instance: %+v, %v", p, err)
	}
}

func TestATicketPassesWithoutAPrincipalWhereItMay(t *testing.T) {
	t.Parallel()
	var s seen
	g := secured(t, func(_ http.ResponseWriter, r *http.Request) { s.add(r) }, nil)
	const job = "/jobs/0199a5f2-0000-7000-8000-000000000000"
	for _, path := range []string{result, progress, job + "/audio"} {
		for _, method := range []string{"GET", "HEAD"} {
			before := s.count()
			g.do(method, path+"?ticket=x", nil, map[string]string{principal.Header: "forged"})
			if s.count() != before+1 || s.last().Get(principal.Header) != "" { // no principal is sent: the ticket alone authorizes the request
				t.Errorf("%s %s: %d exchanges, %v", method, path, s.count()-before, s.last())
			}
			r := g.do(method, path+"?ticket=x", nil, as("nothing"))
			if r.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s %s with a bad token beside the ticket: %s", method, path, r.Status)
			}
		}
		g.problem(g.do("GET", path+"?ticket=", nil, nil), http.StatusUnauthorized, "unauthenticated")
	}
	before := s.count()
	for _, c := range [][2]string{{"GET", "/jobs"}, {"DELETE", job}, {"POST", job + "/cancel"}, {"POST", job + "/retry"}, {"POST", job + "/ticket"}, {"GET", "/tokens"}} {
		g.problem(g.do(c[0], c[1]+"?ticket=x", nil, nil), http.StatusUnauthorized, "unauthenticated")
	}
	if s.count() != before {
		t.Error("a ticket passes where it may not")
	}
}

func TestAStreamEndsAtTheHeartbeatAfterItsKeyIsRevoked(t *testing.T) {
	t.Parallel()
	ping := make(chan struct{})
	g := secured(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for text := "retry: 2000\nid: 1\ndata: {}\n\n"; ; text = ": ping\n\n" {
			_, _ = io.WriteString(w, text)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-ping:
			case <-r.Context().Done():
				return
			}
		}
	}, nil)
	text, id := g.keyWith(principal.JobsRead)
	req, _ := http.NewRequestWithContext(g.kit.Context(), "GET", g.url+progress, http.NoBody)
	req.Header.Set("X-Api-Key", text)
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body := bufio.NewReader(resp.Body)
	block(t, body)
	ping <- struct{}{}
	if got := block(t, body); got != ": ping\n\n" {
		t.Errorf("at a heartbeat: %q", got)
	}
	if r := g.do("DELETE", "/api-keys/"+id, nil, as(adminToken(t))); r.StatusCode != http.StatusNoContent {
		t.Fatalf("%s %s", r.Status, r.text)
	}
	ping <- struct{}{}
	if got := block(t, body); !strings.HasPrefix(got, "retry: ") {
		t.Errorf("the stream of a revoked key goes on: %q", got)
	}
	if _, err := body.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("the stream does not end: %v", err)
	}
}

func TestAResumedStreamIsThatOfItsPrincipalAsLongAsTheKeyCounts(t *testing.T) {
	t.Parallel()
	var s seen
	next := make(chan struct{})
	g := secured(t, func(w http.ResponseWriter, r *http.Request) {
		n := s.add(r)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprintf(w, "id: %d\ndata: {}\n\n", n)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-next:
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler) // the replica breaks
	}, nil)
	text, id := g.keyWith(principal.JobsRead)
	req, _ := http.NewRequestWithContext(g.kit.Context(), "GET", g.url+progress, http.NoBody)
	req.Header.Set("X-Api-Key", text)
	req.Header.Set("Connection", "Last-Event-ID, Sori-Principal")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	until := func(want string) {
		t.Helper()
		for lines.Scan() {
			if lines.Text() == want {
				return
			}
		}
		t.Fatalf("the stream ends before %q: %v", want, lines.Err())
	}
	until("id: 1")
	next <- struct{}{}
	until("id: 2")
	if p, err := g.verified(s.last()); err != nil || p.KeyID != id || p.Owner != "alice" || s.last().Get("Last-Event-Id") != "1" {
		t.Errorf("the second replica is told %+v, %v, %v", p, err, s.last())
	}
	if r := g.do("DELETE", "/api-keys/"+id, nil, as(adminToken(t))); r.StatusCode != http.StatusNoContent {
		t.Fatalf("%s %s", r.Status, r.text)
	}
	next <- struct{}{}
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "id: ") {
			t.Errorf("a stream of a revoked key goes on: %s", lines.Text())
		}
	}
	if s.count() != 2 {
		t.Errorf("%d exchanges", s.count())
	}
}

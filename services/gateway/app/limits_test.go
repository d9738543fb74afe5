package app_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"sori.internal/shared/testkit"
)

// forwardedFor returns the header of a request that a trusted proxy forwards for an address.
func forwardedFor(address string) map[string]string {
	return map[string]string{"X-Forwarded-For": address}
}

// limited checks that an answer refuses a request beyond a limit.
func (g *env) limited(r reply, limit string) {
	g.t.Helper()
	if m := g.problem(r, http.StatusTooManyRequests, "rate-limited"); m["limit"] != limit {
		g.t.Errorf("the limit is %v, not %s", m["limit"], limit)
	}
	if seconds, err := strconv.Atoi(r.Header.Get("Retry-After")); err != nil || seconds < 1 {
		g.t.Errorf("Retry-After is %q", r.Header.Get("Retry-After"))
	}
}

func TestAnAddressIsLimitedBeforeItsCredentialsAreRead(t *testing.T) {
	t.Parallel()
	g := secured(t, nil, map[string]string{"RATE_LIMIT_PER_ADDRESS": "1", "TRUSTED_PROXIES": "loopback", "CORS_ALLOWED_ORIGINS": listed})
	beyond := func(header map[string]string) (last reply) {
		for i := range 30 { // the limit is a burst of 10 requests, and then one request a second
			last = g.do("GET", "/tokens/", nil, header)
			if last.StatusCode == http.StatusTooManyRequests {
				if i < 10 {
					t.Errorf("%v: refused after %d requests", header, i)
				}
				return last
			}
			g.problem(last, http.StatusUnauthorized, "unauthenticated")
		}
		return last
	}
	r := beyond(forwardedFor("203.0.113.9"))
	g.limited(r, "requests")
	if policy, limit := r.Header.Get("RateLimit-Policy"), r.Header.Get("RateLimit"); policy != `"address";q=10;w=10` || !strings.HasPrefix(limit, `"address";r=0;t=`) {
		t.Errorf("%s, %s", policy, limit)
	}
	g.limited(g.do("GET", "/tokens/", nil, forwardedFor("198.51.100.1, 203.0.113.9")), "requests") // the first address comes from the client and is ignored
	g.limited(g.do("POST", g.path(), strings.NewReader("x"), forwardedFor("203.0.113.9")), "requests")
	r = g.do("GET", "/tokens/", nil, map[string]string{"X-Forwarded-For": "203.0.113.9", "Origin": listed})
	g.limited(r, "requests")
	readable(t, "beyond the limit", listed, r.Response)
	if r := g.do("GET", "/readyz", nil, forwardedFor("203.0.113.9")); r.StatusCode != http.StatusOK {
		t.Errorf("a probe: %s", r.Status)
	}
	g.problem(g.do("GET", "/tokens/", nil, forwardedFor("203.0.113.10")), http.StatusUnauthorized, "unauthenticated")
	g.limited(beyond(forwardedFor("2001:db8:0:1::1")), "requests")
	g.limited(g.do("GET", "/tokens/", nil, forwardedFor("2001:db8:0:1:ffff::2")), "requests") // an address with the same /64 prefix
	g.problem(g.do("GET", "/tokens/", nil, forwardedFor("2001:db8:0:2::1")), http.StatusUnauthorized, "unauthenticated")
	for range 30 { // requests from a loopback address are not limited
		r := g.do("GET", "/tokens/", nil, nil)
		g.problem(r, http.StatusUnauthorized, "unauthenticated")
		if r.Header.Get("RateLimit") != "" {
			t.Errorf("%v", r.Header)
		}
	}
}

func TestAnUntrustedPeerCannotChooseItsAddress(t *testing.T) {
	t.Parallel()
	g := start(t, map[string]string{"RATE_LIMIT_PER_ADDRESS": "1"})
	for range 30 {
		if r := g.do("GET", "/tokens/", nil, forwardedFor("203.0.113.9")); r.StatusCode != http.StatusOK || r.Header.Get("RateLimit") != "" {
			t.Fatalf("%s %v", r.Status, r.Header)
		}
	}
}

func TestAPrincipalIsLimitedFromAllItsAddresses(t *testing.T) {
	t.Parallel()
	g := secured(t, nil, map[string]string{"RATE_LIMIT_PER_PRINCIPAL": "1", "TRUSTED_PROXIES": "loopback", "CORS_ALLOWED_ORIGINS": listed})
	alice, bob := as(token(t, "alice", nil)), as(token(t, "bob", nil))
	alice["Origin"] = listed
	var last reply
	for i := range 30 {
		alice["X-Forwarded-For"] = fmt.Sprintf("203.0.113.%d", i)
		if last = g.do("GET", "/tokens/", nil, alice); last.StatusCode == http.StatusTooManyRequests {
			break
		}
	}
	g.limited(last, "requests")
	readable(t, "beyond the limit", listed, last.Response)
	if policy := strings.Join(last.Header.Values("RateLimit-Policy"), ", "); policy != `"address";q=2000;w=10, "principal";q=10;w=10` {
		t.Error(policy)
	}
	r := g.do("GET", "/tokens/", nil, bob)
	if r.StatusCode != http.StatusOK || !strings.HasPrefix(r.Header.Get("RateLimit"), `"principal";r=9;`) {
		t.Errorf("another: %s %v", r.Status, r.Header)
	}
}

func TestAPrincipalHasALimitedNumberOfUploadsUnderWay(t *testing.T) {
	t.Parallel()
	g := secured(t, nil, map[string]string{"MAX_UPLOADS_PER_PRINCIPAL": "2"})
	made := g.do("POST", "/tokens/", strings.NewReader(`{"token_name":"a","actor_name":"b","start_time":0,"end_time":1}`), as(adminToken(t)))
	g.token = int64(made.json(t)["id"].(float64))
	alice := token(t, "alice", nil)
	body, contentType := form(part{name: "file", file: "a.wav", content: wav(64)})
	var open []*wire
	for range 2 {
		w := g.dial()
		w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", g.path(), alice, contentType, len(body), body[:100])
		open = append(open, w)
	}
	g.active(2)
	upload := func(credential string) reply {
		header := as(credential)
		header["Content-Type"] = contentType
		return g.do("POST", g.path(), strings.NewReader(string(body)), header)
	}
	g.limited(upload(alice), "uploads")
	if r := upload(token(t, "bob", nil)); r.StatusCode != http.StatusAccepted {
		t.Errorf("another: %s %s", r.Status, r.text)
	}
	open[0].send("%s", body[100:])
	if r := open[0].answer(); r.StatusCode != http.StatusAccepted {
		t.Errorf("the first: %s %s", r.Status, r.text)
	}
	if r := upload(alice); r.StatusCode != http.StatusAccepted {
		t.Errorf("after the first: %s %s", r.Status, r.text)
	}
	_ = open[1].Close() // the disconnect must end the upload, so that it no longer counts
	g.active(0)
	for range 2 {
		if r := upload(alice); r.StatusCode != http.StatusAccepted {
			t.Errorf("at last: %s %s", r.Status, r.text)
		}
	}
}

func TestAPrincipalHasALimitedNumberOfStreams(t *testing.T) {
	t.Parallel()
	g := secured(t, endlessStream, map[string]string{"MAX_STREAMS_PER_PRINCIPAL": "3"})
	alice := token(t, "alice", nil)
	var open []*http.Response
	refused := 0
	for range 50 {
		if r := g.stream(alice); r.StatusCode == http.StatusOK {
			open = append(open, r)
		} else if r.StatusCode == http.StatusTooManyRequests {
			refused++
		}
	}
	if len(open) != 3 || refused != 47 {
		t.Errorf("%d of 50 streams of one client are open, %d are refused", len(open), refused)
	}
	g.limited(g.do("GET", progress, nil, as(alice)), "streams")
	if r := g.stream(token(t, "bob", nil)); r.StatusCode != http.StatusOK {
		t.Errorf("another: %s", r.Status)
	}
}

// endlessStream is a tracker whose streams do not end. It answers requests for results at once.
func endlessStream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(stubHeader, "1")
	if !strings.HasPrefix(r.URL.Path, "/tokens/analysis-progress/") {
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = fmt.Fprint(w, "retry: 1\n\nid: 1\ndata: {}\n\n")
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

// stream opens a stream, which ends with the test.
func (g *env) stream(credential string) *http.Response {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.kit.Context(), http.MethodGet, g.url+progress, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+credential)
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func TestTheStreamsOfAPrincipalAreLimitedOverAllReplicas(t *testing.T) {
	t.Parallel()
	kit := testkit.New(t)
	kit.MigratedDatabase()
	changes := map[string]string{"MAX_STREAMS_PER_PRINCIPAL": "3", "SHUTDOWN_GRACE": "1s"}
	a, b := securedIn(t, kit, endlessStream, changes), securedIn(t, kit, endlessStream, changes)
	alice := token(t, "alice", nil)
	for i, g := range []*env{a, b, a} {
		if r := g.stream(alice); r.StatusCode != http.StatusOK {
			t.Fatalf("stream %d: %s", i, r.Status)
		}
	}
	for _, g := range []*env{a, b} {
		testkit.Eventually(t, func() error {
			// A request for a result counts as a stream while it is answered.
			r := g.do("GET", "/tokens/analysis-result/0199a5f2-0000-7000-8000-000000000000", nil, as(alice))
			if r.StatusCode != http.StatusTooManyRequests {
				return fmt.Errorf("a fourth: %s", r.Status)
			}
			g.limited(r, "streams")
			return nil
		})
		g.limited(g.do("GET", progress, nil, as(alice)), "streams")
		if r := g.stream(token(t, "bob", nil)); r.StatusCode != http.StatusOK {
			t.Errorf("another: %s", r.Status)
		}
	}
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	for i := range 2 { // replica a has stopped, so its two streams must no longer count at b
		testkit.Eventually(t, func() error {
			if r := b.stream(alice); r.StatusCode != http.StatusOK {
				return fmt.Errorf("stream %d again: %s", i, r.Status)
			}
			return nil
		})
	}
	b.limited(b.do("GET", progress, nil, as(alice)), "streams")
}

func TestTheRetriesOfAPrincipalAreLimitedOverAllReplicas(t *testing.T) {
	t.Parallel()
	kit := testkit.New(t)
	kit.MigratedDatabase()
	const limit = 300
	upstream := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(stubHeader, "1")
		w.WriteHeader(http.StatusAccepted)
	}
	changes := map[string]string{"MAX_RETRIES_PER_PRINCIPAL": fmt.Sprint(limit)}
	a, b := securedIn(t, kit, upstream, changes), securedIn(t, kit, upstream, changes)
	alice := as(token(t, "alice", nil))
	retry := func(g *env) reply {
		return g.do("POST", "/jobs/0199a5f2-0000-7000-8000-000000000000/retry", nil, alice)
	}
	for retry(a).StatusCode == http.StatusAccepted { //nolint:revive // repeated until the limit is exceeded
	}
	allowed := 0
	testkit.Eventually(t, func() error {
		r := retry(b)
		if r.StatusCode == http.StatusAccepted {
			if allowed++; allowed == limit {
				t.Fatal("the limit is not that of all replicas")
			}
			return fmt.Errorf("allowed: %s", r.Header.Get("RateLimit"))
		}
		b.limited(r, "retries")
		return nil
	})
}

func TestAStreamThatHasEndedIsNotCounted(t *testing.T) {
	t.Parallel()
	g := secured(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(stubHeader, "1")
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprint(w, "id: 1\ndata: {}\n\n")
	}, map[string]string{"MAX_STREAMS_PER_PRINCIPAL": "1"})
	for range 10 {
		testkit.Eventually(t, func() error { // a stream counts until the server has noticed its end
			if r := g.do("GET", progress, nil, as(token(t, "alice", nil))); r.StatusCode != http.StatusOK {
				return fmt.Errorf("%s: %s", r.Status, r.text)
			}
			return nil
		})
	}
}

func TestAPrincipalHasALimitedNumberOfRetries(t *testing.T) {
	t.Parallel()
	g := secured(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(stubHeader, "1")
		w.WriteHeader(http.StatusAccepted)
	}, map[string]string{"MAX_RETRIES_PER_PRINCIPAL": "5"})
	retry := func(who string, job int) reply {
		return g.do("POST", fmt.Sprintf("/jobs/0199a5f2-0000-7000-8000-%012d/retry", job), nil, as(token(t, who, nil)))
	}
	for job := range 5 {
		if r := retry("alice", job); r.StatusCode != http.StatusAccepted {
			t.Fatalf("%d: %s %s", job, r.Status, r.text)
		}
	}
	g.limited(retry("alice", 5), "retries") // the limit counts the retries of all jobs of an owner
	if r := retry("bob", 5); r.StatusCode != http.StatusAccepted {
		t.Errorf("another: %s", r.Status)
	}
}

package app_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sori.internal/shared/testkit"
)

// trickle sends the beginning of a request and then a byte now and then, until the connection is
// closed or the test ends. It returns at once.
func (w *wire) trickle(every time.Duration) {
	go func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if _, err := io.WriteString(w, "x"); err != nil {
					return
				}
			case <-w.t.Context().Done():
				return
			}
		}
	}()
}

func TestUploadsThatTrickleFreeTheirSlots(t *testing.T) {
	t.Parallel()
	// The idle timeout is long enough, on a busy machine too, for all uploads to begin and another one to
	// be refused before the first upload is ended.
	g := start(t, map[string]string{"UPLOAD_IDLE_TIMEOUT": "4s", "MAX_CONCURRENT_UPLOADS": "32"})
	body, contentType := form(part{name: "file", file: "a.wav", content: wav(1 << 20)})
	var slow []*wire
	for range 32 {
		w := g.dial()
		w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", g.path(), contentType, len(body), body[:1000])
		w.trickle(100 * time.Millisecond) // never idle, but far below the least rate
		slow = append(slow, w)
	}
	g.active(32)
	g.problem(g.upload(nil, part{name: "file", file: "a.wav", content: wav(64)}), 503, "busy")
	for _, w := range slow {
		g.problem(w.answer(), http.StatusRequestTimeout, "request-timeout")
	}
	g.active(0)
	if r := g.upload(nil, part{name: "file", file: "a.wav", content: wav(64)}); r.StatusCode != http.StatusAccepted {
		t.Errorf("another user's upload: %s %s", r.Status, r.text)
	}
}

func TestAnyRateSufficesWithoutALeastRate(t *testing.T) {
	t.Parallel()
	g := start(t, map[string]string{"UPLOAD_IDLE_TIMEOUT": "1s", "MIN_BODY_RATE": "0"})
	body, contentType := form(part{name: "file", file: "a.wav", content: wav(64)})
	w := g.dial()
	w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", g.path(), contentType, len(body), body[:len(body)-20])
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := range 20 {
		<-tick.C
		w.send("%s", body[len(body)-20+i:len(body)-19+i])
	}
	if r := w.answer(); r.StatusCode != http.StatusAccepted {
		t.Errorf("%s: %s", r.Status, r.text)
	}
}

// TestSlowBodiesOfJSONHoldLittleMemory is not parallel: it measures the memory of the process.
func TestSlowBodiesOfJSONHoldLittleMemory(t *testing.T) { //nolint:paralleltest // see above
	const idle = 10 * time.Second
	g := start(t, map[string]string{"UPLOAD_IDLE_TIMEOUT": idle.String()})
	quiet := percentile(t, g, 50)
	runtime.GC()
	var before, during runtime.MemStats
	runtime.ReadMemStats(&before)
	const n, size = 400, 1 << 20
	text := `{"token_name":"` + strings.Repeat("x", size-1000)
	var wg sync.WaitGroup
	answers := make(chan string, n)
	began := time.Now()
	for range n {
		c, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		wg.Go(func() {
			_, _ = fmt.Fprintf(c, "POST /tokens/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", size, text)
		})
		go func() {
			status := make([]byte, 12)
			_, _ = io.ReadFull(c, status)
			answers <- string(status)
		}()
	}
	wg.Wait() // each body is either refused or sent except for its last bytes
	arrived := time.Since(began)
	runtime.GC()
	runtime.ReadMemStats(&during)
	if grown := int64(during.HeapAlloc) - int64(before.HeapAlloc); grown > 220<<20 {
		t.Errorf("%d bodies of 1 MiB hold %d MiB", n, grown>>20)
	} else {
		t.Logf("%d bodies of 1 MiB hold %d MiB", n, grown>>20)
	}
	busy := percentile(t, g, 50)
	t.Logf("p99 of another user: quiet %v, attacked %v", quiet, busy)
	counted := map[string]int{}
	for range n {
		counted[<-answers]++
	}
	// Some bodies must find no memory (503). But on a busy machine the bodies arrive so slowly that
	// the first ones time out (408) and release memory for the last ones.
	together := arrived < idle/2
	if counted["HTTP/1.1 408"] == 0 || together && counted["HTTP/1.1 503"] == 0 || counted["HTTP/1.1 408"]+counted["HTTP/1.1 503"]+counted[string(make([]byte, 12))] != n {
		t.Errorf("the answers: %v", counted)
	}
	if r := g.send("POST", "/actors/", `{"name":"after"}`); r.StatusCode != http.StatusCreated {
		t.Errorf("another user: %s %s", r.Status, r.text)
	}
}

// percentile sends n requests that each create a token, and returns the 99th percentile of their
// durations.
func percentile(t *testing.T, g *env, n int) time.Duration {
	t.Helper()
	var took []time.Duration
	for range n {
		began := time.Now()
		if r := g.send("POST", "/tokens/", `{"token_name":"a","actor_name":"b","start_time":0,"end_time":1}`); r.StatusCode != http.StatusCreated {
			t.Errorf("another user: %s %s", r.Status, r.text)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

func TestAReaderThatTakesNothingIsCut(t *testing.T) {
	t.Parallel()
	sent := make(chan error, 1)
	g, _ := startWithUpstream(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		chunk := make([]byte, 1<<20)
		for {
			if _, err := w.Write(chunk); err != nil {
				sent <- err
				return
			}
		}
	})
	w := g.dial()
	_ = w.SetDeadline(time.Now().Add(2 * time.Minute))
	w.send("GET /jobs/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
	select {
	case <-sent:
	case <-time.After(time.Minute):
		t.Error("the upstream still sends")
	}
	testkit.Eventually(t, func() error {
		if !strings.Contains(g.kit.Logged(), `"path":"/jobs/","status":200`) {
			return fmt.Errorf("the request is not over")
		}
		return nil
	})
}

func TestARefusalOfAnUpstreamDoesNotWaitForTheBody(t *testing.T) {
	t.Parallel()
	g, _ := startWithUpstream(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(stubHeader, "1")
		w.Header().Set("Connection", "close") // like a refusal by package httpd, which closes the connection
		w.WriteHeader(http.StatusUnauthorized)
	})
	for _, framing := range []string{"Content-Length: 1000\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n"} {
		w := g.dial()
		w.send("POST /tokens/webhook/analysis-complete?sig=x HTTP/1.1\r\nHost: localhost\r\n%s", framing)
		began := time.Now()
		if r := w.answer(); r.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %s: %s", framing, r.Status, r.text)
		}
		if took := time.Since(began); took > 10*time.Second { // the answer must not wait for the rest of the body, which never arrives
			t.Errorf("%s: the answer came after %v", framing, took)
		}
	}
}

func TestTheSlowBodiesOfOneOwnerLeaveMemoryToOthers(t *testing.T) {
	t.Parallel()
	g := secured(t, nil, nil)
	made := g.do("POST", "/tokens", strings.NewReader(`{"token_name":"a","actor_name":"b","start_time":0,"end_time":1}`), as(adminToken(t)))
	path := made.Header.Get("Location") + "/analyze"
	const held, refused, size = 16, 4, 1 << 20
	answers := make(chan int, held+refused)
	for range held + refused { // the client never sends the ends of these bodies
		w := g.dial()
		w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
			path, token(t, "alice", nil), size)
		go func() {
			_, _ = io.WriteString(w, `{"audio_url":"`+strings.Repeat("x", size-1000)) // the write fails if the gateway refuses the body
		}()
		go func() {
			if resp, err := http.ReadResponse(w.r, nil); err == nil {
				answers <- resp.StatusCode
			}
		}()
	}
	for range refused {
		if status := <-answers; status != http.StatusServiceUnavailable {
			t.Errorf("a body beyond the share of alice: %d", status)
		}
	}
	large := strings.NewReader(`{"audio_url":"` + strings.Repeat("x", 500_000) + `"}`)
	if r := g.do("POST", path, large, as(token(t, "bob", nil))); r.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("a body of bob: %s %s", r.Status, r.text)
	}
}

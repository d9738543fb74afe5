package app_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"sori.internal/shared/testkit"
	"sori.internal/shared/testkit/contract"
)

// wire is a connection to which a test writes raw bytes.
type wire struct {
	t *testing.T
	net.Conn
	r     *bufio.Reader
	http  *contract.Transport
	asked [][]string // method and path of the requests that are not answered yet
}

func (g *env) dial() *wire {
	g.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute)) // long enough for a machine on which other tests run too
	return &wire{t: g.t, Conn: c, r: bufio.NewReader(c), http: g.http}
}

// requestLine is the first line of a request.
var requestLine = regexp.MustCompile(`([A-Z]+) (/[^ ?]*)\S*` + version + `$`)

const version = " HTTP/1.1"

func (w *wire) send(format string, args ...any) {
	w.t.Helper()
	text := fmt.Sprintf(format, args...)
	for line := range strings.SplitSeq(text, "\r\n") {
		if strings.HasSuffix(line, version) { // checked first, since matching the pattern against whole bodies would take seconds
			w.asked = append(w.asked, requestLine.FindStringSubmatch(line))
		}
	}
	if _, err := io.WriteString(w, text); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wire) answer() reply {
	w.t.Helper()
	resp, err := http.ReadResponse(w.r, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	if !w.http.Exempt(resp) {
		to := w.asked[0]
		if err := w.http.Document.Check(contract.Answer{Method: to[1], Path: to[2], Status: resp.StatusCode, Header: resp.Header, Body: text}); err != nil {
			w.t.Error(err)
		}
	}
	w.asked = w.asked[1:]
	return reply{Response: resp, text: text}
}

// rest reads the remaining bytes until the connection is closed.
func (w *wire) rest() string {
	b, _ := io.ReadAll(w.r) // an error is ignored: a TCP reset also ends the connection
	return string(b)
}

func (w *wire) alive() {
	w.t.Helper()
	w.send("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if r := w.answer(); r.StatusCode != http.StatusOK {
		w.t.Errorf("the next request: %s", r.Status)
	}
}

func TestARefusedBodyIsNeverParsedAsTheNextRequest(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	victim := g.create(`{"token_name":"v","actor_name":"b","start_time":0,"end_time":1}`)
	hidden := fmt.Sprintf("DELETE /tokens/%v HTTP/1.1\r\nHost: localhost\r\n\r\nGET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", victim["id"])
	wires := map[string]*wire{}
	for name, size := range map[string]int{"within a buffer": 100, "beyond 8 KiB": 9 << 10, "beyond the buffer": 40 << 10, "beyond what is drained": 300 << 10} {
		body := strings.Repeat("z", size) + hidden
		for _, path := range []string{
			"/tokens/999/upload-audio", "/tokens/x/upload-audio", g.path(), "/nowhere", "/tokens/1", "/livez", "/tokens/analysis-result/1",
		} {
			for _, method := range []string{"POST", "GET", "BREW"} {
				for framing, end := range map[string]string{
					fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)):               "",
					fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n", len(body)): "\r\n0\r\n\r\n",
				} {
					w := g.dial()
					_ = w.SetDeadline(time.Now().Add(2 * time.Minute))
					w.send("%s %s HTTP/1.1\r\nHost: localhost\r\n%s", method, path, framing)
					_, _ = io.WriteString(w, body+end) // the write fails if the gateway refuses the request early
					_ = w.Conn.(*net.TCPConn).CloseWrite()
					wires[fmt.Sprintf("%s %s %s %q", name, method, path, framing)] = w
				}
			}
		}
	}
	for name, w := range wires { // answers are read after all requests are sent, since the gateway delays some of them
		_ = w.answer()
		if after := w.rest(); strings.Contains(after, "HTTP/1.1 2") {
			t.Errorf("%s: a hidden request was answered: %s", name, after)
		}
	}
	if r := g.do("GET", fmt.Sprintf("/tokens/%v", victim["id"]), nil, nil); r.StatusCode != http.StatusOK {
		t.Errorf("the victim: %s", r.Status)
	}
}

func TestTwoFramingsAreRefused(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	for _, framing := range []string{
		"Content-Length: 5\r\nContent-Length: 6", "Content-Length: +5", "Content-Length: -1", "Transfer-Encoding: xchunked", "Content-Length: 5\r\nTransfer-Encoding: chunked",
	} {
		w := g.dial()
		w.send("POST %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n0\r\n\r\nGET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", g.path(), framing)
		if r := w.answer(); r.StatusCode < 400 {
			t.Errorf("%q: %s", framing, r.Status)
		}
		if after := w.rest(); strings.Contains(after, "200 OK") {
			t.Errorf("%q: what followed was answered: %s", framing, after)
		}
	}
}

func TestAConnectionCanBeReusedAfterAnUpload(t *testing.T) {
	t.Parallel()
	g := start(t, map[string]string{"UPLOAD_IDLE_TIMEOUT": "500ms"})
	w := g.dial()
	body, contentType := form(part{name: "file", file: "a.wav", content: wav(600 << 10)}, part{name: "x", content: []byte("y")})
	for range 3 {
		w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", g.path(), contentType, len(body), body)
		if r := w.answer(); r.StatusCode != http.StatusAccepted {
			t.Fatalf("%s: %s", r.Status, r.text)
		}
		w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", g.path(), contentType, len(body), body)
		if r := w.answer(); r.StatusCode != http.StatusAccepted {
			t.Fatalf("chunked: %s: %s", r.Status, r.text)
		}
		w.alive()
		// The gateway refuses this request, and reads and discards its small body.
		w.send("POST /tokens/999/upload-audio HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: 5000\r\n\r\n%s", contentType, strings.Repeat("z", 5000))
		g.problem(w.answer(), 404, "token-not-found")
		<-time.After(time.Second) // longer than the idle timeout of the bodies, which must no longer apply
		w.alive()
	}
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	body, contentType := form(part{name: "file", file: "a.wav", content: wav(64)})
	w := g.dial()
	w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%sGET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\nGET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
		g.path(), contentType, len(body), body)
	for _, want := range []int{202, 404, 200} {
		if r := w.answer(); r.StatusCode != want {
			t.Errorf("%s instead of %d", r.Status, want)
		}
	}
}

func TestATooLargeBodyIsRefusedByItsHeader(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	for _, expect := range []string{"", "Expect: 100-continue\r\n", "X-Sori-Declared-Length: 5\r\n"} {
		w := g.dial()
		w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 9999999999\r\n%s\r\n", g.path(), expect)
		r := w.answer()
		if m := g.problem(r, 413, "too-large"); m["max_bytes"] != 104857600.0 {
			t.Errorf("max_bytes is %v", m["max_bytes"])
		}
		if !r.Close {
			t.Error("the connection is kept")
		}
		if after := w.rest(); after != "" {
			t.Errorf("and then %q", after)
		}
	}
	// The gateway ignores its internal header x-sori-declared-length if a client sends it.
	w := g.dial()
	body, contentType := form(part{name: "file", file: "a.wav", content: wav(64)})
	w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nx-sori-declared-length: 9999999999\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", g.path(), contentType, len(body), body)
	if r := w.answer(); r.StatusCode != http.StatusAccepted {
		t.Errorf("a spoofed mark: %s", r.Status)
	}
}

func TestAnExpectationIsAnsweredBeforeTheBody(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	body, contentType := form(part{name: "file", file: "a.wav", content: wav(300 << 10)})
	w := g.dial()
	w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", g.path(), contentType, len(body))
	if line, err := w.r.ReadString('\n'); err != nil || !strings.Contains(line, "100") {
		t.Fatalf("%q, %v", line, err)
	}
	_, _ = w.r.ReadString('\n')
	w.send("%s", body)
	if r := w.answer(); r.StatusCode != http.StatusAccepted {
		t.Errorf("%s: %s", r.Status, r.text)
	}
	w.alive()
}

func TestTheRestOfATooLargeBodyIsNotRead(t *testing.T) {
	t.Parallel()
	g := start(t, map[string]string{"MAX_UPLOAD_BYTES": "100000"})
	w := g.dial()
	w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked\r\n\r\n", g.path())
	head := "--b\r\nContent-Disposition: form-data; name=file; filename=a.wav\r\n\r\n" + string(wav(1000))
	w.send("%x\r\n%s\r\n", len(head), head)
	sent := make(chan int)
	go func() {
		n, chunk := 0, fmt.Sprintf("%x\r\n%s\r\n", 64<<10, strings.Repeat("z", 64<<10))
		for {
			m, err := io.WriteString(w, chunk)
			if n += m; err != nil {
				sent <- n
				return
			}
		}
	}()
	g.problem(w.answer(), 413, "too-large")
	// The gateway stops reading, so the client can send only what the kernel buffers: a few MiB.
	if n := <-sent; n > 64<<20 {
		t.Errorf("%d bytes were taken", n)
	}
	g.assertNothingStored()
}

func TestAnUploadWhoseClientLeavesLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	body, contentType := form(part{name: "file", file: "a.wav", content: wav(3 << 20)})
	for _, share := range []int{1, len(body) / 3, len(body) * 2 / 3, len(body) - 1} {
		for _, half := range []bool{true, false} {
			for _, chunked := range []bool{true, false} {
				w := g.dial()
				if chunked {
					w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s", g.path(), contentType, len(body), body[:share])
				} else {
					w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", g.path(), contentType, len(body), body[:share])
				}
				if !half {
					_ = w.Close()
					continue
				}
				_ = w.Conn.(*net.TCPConn).CloseWrite()
				g.problem(w.answer(), 400, "body-truncated")
			}
		}
	}
	// The form is complete, but its body is 10 bytes shorter than its Content-Length.
	w := g.dial()
	w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", g.path(), contentType, len(body)+10, body)
	_ = w.Conn.(*net.TCPConn).CloseWrite()
	g.problem(w.answer(), 400, "body-truncated")
	testkit.Eventually(t, func() error {
		if n := strings.Count(g.kit.Logged(), `upload-audio","status":400`); n != 17 {
			return fmt.Errorf("%d of 17 uploads have ended", n)
		}
		return nil
	})
	g.assertNothingStored()
}

func TestASlowBodyTimesOut(t *testing.T) {
	t.Parallel()
	for name, settings := range map[string]map[string]string{
		"idle":  {"UPLOAD_IDLE_TIMEOUT": "300ms"},
		"total": {"UPLOAD_TIMEOUT": "300ms"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := start(t, settings)
			body, contentType := form(part{name: "file", file: "a.wav", content: wav(1 << 20)})
			w := g.dial()
			w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", g.path(), contentType, len(body), body[:300<<10])
			g.problem(w.answer(), http.StatusRequestTimeout, "request-timeout")
			if after := w.rest(); after != "" {
				t.Errorf("and then %q", after)
			}
			g.assertNothingStored()
		})
	}
}

func TestABodyMayArriveSlowlyButSteadily(t *testing.T) {
	t.Parallel()
	g := start(t, map[string]string{"UPLOAD_IDLE_TIMEOUT": "500ms"})
	body, contentType := form(part{name: "file", file: "a.wav", content: wav(64 << 10)})
	w := g.dial()
	w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", g.path(), contentType, len(body))
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := range 10 { // one second in all; each pause is shorter than the idle timeout
		<-tick.C
		w.send("%s", body[i*len(body)/10:(i+1)*len(body)/10])
	}
	if r := w.answer(); r.StatusCode != http.StatusAccepted {
		t.Errorf("%s: %s", r.Status, r.text)
	}
	w.alive()
}

func TestAShutdownLetsUploadsFinish(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	body, contentType := form(part{name: "file", file: "a.wav", content: wav(600 << 10)})
	w := g.dial()
	unused := g.dial()
	w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", g.path(), contentType, len(body), body[:1000])
	g.active(1)
	stopped := make(chan error)
	go func() { stopped <- g.stop() }()
	if rest := unused.rest(); rest != "" { // the connection is closed when the shutdown begins
		t.Errorf("unused: %q", rest)
	}
	w.send("%s", body[1000:])
	if r := w.answer(); r.StatusCode != http.StatusAccepted || !r.Close {
		t.Errorf("%s, closing %v: %s", r.Status, r.Close, r.text)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestTheGraceLimitsAShutdown(t *testing.T) {
	t.Parallel()
	g := start(t, map[string]string{"SHUTDOWN_GRACE": "200ms"})
	body, contentType := form(part{name: "file", file: "a.wav", content: wav(600 << 10)})
	w := g.dial()
	w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", g.path(), contentType, len(body), body[:300<<10])
	g.active(1)
	began := time.Now()
	if err := g.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("the stop took %v", took)
	}
	g.assertNothingStored()
}

// active waits until n uploads are under way.
func (g *env) active(n int) {
	g.t.Helper()
	testkit.Eventually(g.t, func() error {
		if !strings.Contains(g.metrics(), fmt.Sprintf("sori_uploads_active %d\n", n)) {
			return fmt.Errorf("not %d uploads under way", n)
		}
		return nil
	})
}

package app_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const progress = "/tokens/analysis-progress/0199a5f2-0000-7000-8000-000000000000"
const result = "/tokens/analysis-result/0199a5f2-0000-7000-8000-000000000000"
const webhook = "/tokens/webhook/analysis-complete?job_id=x&attempt=1&sig=a%2Bb"

// newUpstream starts a stub with the handler h. It returns the stub and the function that stops it.
// The stub must stop before the gateway, which waits for open streams. When the stub stops, it
// cancels the context of every request, including a request with which the gateway resumes a
// stream.
func newUpstream(h http.HandlerFunc) (*httptest.Server, func()) {
	upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(stubHeader, "yes")
		h(w, r)
	}))
	running, end := context.WithCancel(context.Background())
	upstream.Config.BaseContext = func(net.Listener) context.Context { return running }
	upstream.Start()
	return upstream, func() { end(); upstream.CloseClientConnections(); upstream.Close() }
}

// startWithUpstream starts a gateway whose tracker, dispatcher and uploader are a stub with the handler h.
func startWithUpstream(t *testing.T, changes map[string]string, h http.HandlerFunc) (*env, *httptest.Server) {
	t.Helper()
	upstream, end := newUpstream(h)
	vars := map[string]string{"TRACKER_URL": upstream.URL, "DISPATCHER_URL": upstream.URL + "/", "UPLOADER_URL": upstream.URL}
	for k, v := range changes {
		vars[k] = v
	}
	g := start(t, vars)
	t.Cleanup(end)
	return g, upstream
}

func TestAResultIsForwarded(t *testing.T) {
	t.Parallel()
	g, _ := startWithUpstream(t, nil, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Seen", fmt.Sprint(r.Method, " ", r.RequestURI, " ", r.Header["Accept-Language"], r.Header["Prefer"],
			r.Header["X-Request-Id"], r.Header["X-Forwarded-For"], r.Header["X-Forwarded-Proto"], r.Header["X-Forwarded-Host"] != nil,
			r.Header["X-Hop"], r.Header["Connection"], r.Header["X-Sori-Declared-Length"]))
		w.Header().Set("X-Trace", r.Header.Get("Traceparent"))
		w.Header().Add("Vary", "Accept-Language")
		w.Header().Add("Vary", "Accept")
		w.Header().Set("Connection", "X-Own")
		w.Header().Set("X-Own", "1")
		w.Header().Set("ETag", `"7-ko"`)
		w.Header().Set("X-Request-Id", r.Header.Get("X-Request-Id"))
		if r.Header.Get("If-None-Match") == `"7-ko"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"job_id":"x"}`)
	})
	header := map[string]string{
		"Accept-Language": "en", "Prefer": "wait=30", "X-Request-Id": "mine", "X-Forwarded-For": "203.0.113.9",
		"Connection": "X-Hop", "X-Hop": "1", "X-Sori-Declared-Length": "3",
		"Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
	r := g.do("GET", result+"?wait=30&x=%20y", nil, header)
	// The client's own X-Forwarded headers are not forwarded: the client is no trusted proxy.
	want := "GET " + result + "?wait=30&x=%20y [en] [wait=30] [mine] [127.0.0.1] [http] true [] [] []"
	if got := r.Header.Get("X-Seen"); got != want {
		t.Errorf("the tracker saw %s, not %s", got, want)
	}
	if r.StatusCode != 200 || string(r.text) != `{"job_id":"x"}` || r.Header.Get("Etag") != `"7-ko"` || r.ContentLength != 14 ||
		r.Header.Get("Content-Type") != "application/json" || r.Header.Get("X-Own") != "" || len(r.Header["Vary"]) != 2 ||
		len(r.Header["X-Request-Id"]) != 1 || len(r.Header["Date"]) != 1 {
		t.Errorf("%s %v %s", r.Status, r.Header, r.text)
	}
	if got := r.Header.Get("X-Trace"); !strings.HasPrefix(got, "00-0af7651916cd43dd8448eb211c80319c-") || strings.Contains(got, "b7ad6b7169203331") {
		t.Errorf("the trace went on as %s", got)
	}
	header["If-None-Match"] = `"7-ko"`
	if r := g.do("GET", result, nil, header); r.StatusCode != 304 || len(r.text) != 0 || r.Header.Get("Etag") != `"7-ko"` {
		t.Errorf("conditional: %s %v", r.Status, r.Header)
	}
	delete(header, "If-None-Match")
	if r := g.do("HEAD", result, nil, header); r.StatusCode != 200 || r.ContentLength != 14 || len(r.text) != 0 {
		t.Errorf("HEAD: %s %v %d", r.Status, r.Header, r.ContentLength)
	}
}

func TestAnswersOfAnyStatusAreForwarded(t *testing.T) {
	t.Parallel()
	g, _ := startWithUpstream(t, nil, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(len(r.URL.RawQuery)) // the request chooses the status by the length of its query
		_, _ = io.WriteString(w, `{"code":"theirs"}`)
	})
	for _, status := range []int{204, 404, 410, 503} {
		r := g.do("GET", result+"?"+strings.Repeat("x", status), nil, nil)
		if r.StatusCode != status || status != 204 && string(r.text) != `{"code":"theirs"}` || r.Header.Get("Retry-After") != "7" {
			t.Errorf("%d: %s %s", status, r.Status, r.text)
		}
	}
}

func TestCommandsForAJobAreForwarded(t *testing.T) {
	t.Parallel()
	g, _ := startWithUpstream(t, nil, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, r.Method+" "+r.RequestURI)
	})
	for _, action := range []string{"cancel", "retry"} {
		path := "/jobs/0199a5f2-0000-7000-8000-000000000000/" + action
		for _, slash := range []string{"", "/"} {
			if r := g.do("POST", path+slash, nil, nil); r.StatusCode != 202 || string(r.text) != "POST "+path+slash {
				t.Errorf("%s%s: %s %s", path, slash, r.Status, r.text)
			}
		}
		g.problem(g.do("GET", path, nil, nil), 405, "method-not-allowed")
	}
	const path = "/jobs/0199a5f2-0000-7000-8000-000000000000/"
	if r := g.do("DELETE", path, nil, nil); r.StatusCode != 202 || string(r.text) != "DELETE "+path {
		t.Errorf("%s: %s %s", path, r.Status, r.text)
	}
}

func TestAListOfJobsIsForwarded(t *testing.T) {
	t.Parallel()
	g, _ := startWithUpstream(t, nil, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "<"+r.RequestURI+`&cursor=x>; rel="next"`)
		_, _ = io.WriteString(w, r.Method+" "+r.RequestURI)
	})
	for _, path := range []string{"/jobs", "/jobs/"} {
		target := path + "?status=failed,canceled&status=completed&created_after=2026-01-31T18:00:00%2B09:00"
		r := g.do("GET", target, nil, nil)
		if r.StatusCode != 200 || string(r.text) != "GET "+target || r.Header.Get("Link") != "<"+target+`&cursor=x>; rel="next"` {
			t.Errorf("%s: %v %s", r.Status, r.Header, r.text)
		}
		if r := g.do("HEAD", target, nil, nil); r.StatusCode != 200 || len(r.text) != 0 || r.Header.Get("Link") == "" {
			t.Errorf("HEAD: %s %v", r.Status, r.Header)
		}
		g.problem(g.do("POST", path, nil, nil), 405, "method-not-allowed")
	}
}

func TestARedirectToARecordingIsForwardedAndNotFollowed(t *testing.T) {
	t.Parallel()
	const link = "https://objects.example.org/b/audio/x%20y?X-Amz-Signature=0a&response-content-disposition=inline%3B%20filename%2A%3Dutf-8%27%27%EB%85%B9"
	g, _ := startWithUpstream(t, nil, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", link)
		w.Header().Set("X-Seen", r.Method+" "+r.RequestURI)
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	for _, method := range []string{"GET", "HEAD"} {
		for _, path := range []string{"/jobs/0199a5f2-0000-7000-8000-000000000000/audio", "/jobs/x/audio/"} {
			r := g.do(method, path, nil, nil)
			if r.StatusCode != 307 || r.Header.Get("Location") != link || r.Header.Get("X-Seen") != method+" "+path || len(r.text) != 0 {
				t.Errorf("%s: %v %s", r.Status, r.Header, r.text)
			}
		}
	}
	if strings.Contains(g.kit.Logged(), "X-Amz-Signature") {
		t.Error("a link was logged")
	}
}

func TestAnUpstreamThatIsAwayIsAnsweredWith503(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	g.problem(g.do("GET", result, nil, nil), 503, "unavailable")
	g.problem(g.do("GET", progress, nil, nil), 503, "unavailable")
	g.problem(g.do("POST", webhook, strings.NewReader("{}"), nil), 503, "unavailable")
	if r := g.do("GET", "/readyz", nil, nil); r.StatusCode != 200 {
		t.Errorf("readiness depends on it: %s", r.text)
	}
}

func TestAWebhookIsForwarded(t *testing.T) {
	t.Parallel()
	g, _ := startWithUpstream(t, map[string]string{"MAX_WEBHOOK_BYTES": "3000000"}, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("X-Length", fmt.Sprint(r.ContentLength))
		_, _ = fmt.Fprintf(w, "%s %s %d", r.Method, r.RequestURI, len(body))
	})
	large := bytes.Repeat([]byte("x"), 3000000)
	for _, body := range [][]byte{[]byte(`{"analysis_results":{}}`), large, {}} {
		want := fmt.Sprintf("POST %s %d", webhook, len(body))
		r := g.do("POST", webhook, bytes.NewReader(body), nil)
		if string(r.text) != want || r.Header.Get("X-Length") != fmt.Sprint(len(body)) {
			t.Errorf("%s: %s of %s", r.Status, r.text, r.Header.Get("X-Length"))
		}
		r = g.do("POST", webhook, struct{ io.Reader }{bytes.NewReader(body)}, nil)
		if string(r.text) != want {
			t.Errorf("chunked: %s: %s", r.Status, r.text)
		}
	}
	g.problem(g.do("POST", webhook, bytes.NewReader(append(large, 'x')), nil), 413, "too-large")
	chunked := g.do("POST", webhook, struct{ io.Reader }{bytes.NewReader(append(large, 'x'))}, nil)
	g.problem(chunked, 413, "too-large")
	if !chunked.Close {
		t.Error("after a part of a chunked body, the connection is closed without notice")
	}
	w := g.dial()
	w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc", webhook)
	_ = w.Conn.(interface{ CloseWrite() error }).CloseWrite()
	g.problem(w.answer(), 400, "body-truncated")
	for chunks, complete := range map[string]bool{
		"": false, "3\r\nab": false, "3\r\nabc": false, "3\r\nabc\r\n": false, "3\r\nabc\r\n0\r\n": false,
		"3\r\nabc\r\n0\r\n\r\n": true, "3\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n": true,
	} {
		w := g.dial()
		w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n%s", webhook, chunks)
		_ = w.Conn.(interface{ CloseWrite() error }).CloseWrite()
		r := w.answer()
		if complete && r.StatusCode != http.StatusOK {
			t.Errorf("%q: %s: %s", chunks, r.Status, r.text)
		}
		if !complete {
			g.problem(r, 400, "body-truncated")
		}
	}
}

func TestTheHeaderOfATooLargeCallbackIsForwarded(t *testing.T) {
	t.Parallel()
	const limit = 3000000
	told := make(chan int64, 1)
	g, _ := startWithUpstream(t, map[string]string{"MAX_WEBHOOK_BYTES": fmt.Sprint(limit)}, func(w http.ResponseWriter, r *http.Request) {
		told <- r.ContentLength
		if r.Header.Get("Expect") != "100-continue" {
			t.Errorf("Expect is %q", r.Header.Get("Expect"))
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		_, _ = io.WriteString(w, `{"type":"about:blank","title":"Request Entity Too Large","status":413,"code":"too-large","detail":"told"}`)
	})
	for _, size := range []int{limit + 1, 2 * limit} {
		r := g.do("POST", webhook, bytes.NewReader(bytes.Repeat([]byte("x"), size)), nil)
		if r.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(string(r.text), `"detail":"told"`) {
			t.Errorf("%d bytes: %s: %s", size, r.Status, r.text)
		}
		if !r.Close {
			t.Errorf("%d bytes: the connection is closed without notice", size)
		}
		if got := <-told; got != int64(size) {
			t.Errorf("told of %d bytes, want %d", got, size)
		}
	}
}

func TestAConnectionCanBeReusedAfterAnEarlyAnswer(t *testing.T) {
	t.Parallel()
	g, _ := startWithUpstream(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized) // the upstream answers without reading the body
	})
	for _, size := range []int{100, 100 << 10, 4 << 20} {
		w := g.dial()
		hidden := "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
		w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", webhook, size+len(hidden))
		go func() { _, _ = io.WriteString(w, strings.Repeat("z", size)+hidden) }()
		if r := w.answer(); r.StatusCode != 401 && r.StatusCode != 503 { // 503 if writing the body to the upstream failed before the answer was read
			t.Errorf("%s: %s", r.Status, r.text)
		}
		_ = w.Conn.(interface{ CloseWrite() error }).CloseWrite()
		if after := w.rest(); strings.Contains(after, "200 OK") {
			t.Errorf("the hidden request was answered: %s", after)
		}
	}
}

// events is a stub tracker. Its stream sends the frames of a test.
type events struct {
	frames chan string
	gone   chan struct{} // closed when the client of the stream has left
}

func newEvents() *events {
	return &events{frames: make(chan string), gone: make(chan struct{})}
}

func (e *events) serve(w http.ResponseWriter, r *http.Request) {
	defer close(e.gone)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	w.Header().Set("X-Last", r.Header.Get("Last-Event-Id"))
	_ = http.NewResponseController(w).Flush()
	for {
		select {
		case f, ok := <-e.frames:
			if !ok {
				return
			}
			_, _ = io.WriteString(w, f)
			_ = http.NewResponseController(w).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

func (g *env) open(ctx context.Context) (*http.Response, *bufio.Reader) {
	g.t.Helper()
	req, _ := http.NewRequestWithContext(ctx, "GET", g.url+progress, nil)
	req.Header.Set("Last-Event-ID", "5")
	resp, err := g.http.RoundTrip(req)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp, bufio.NewReader(resp.Body)
}

func TestEventsArriveOneByOne(t *testing.T) {
	t.Parallel()
	e := newEvents()
	g, _ := startWithUpstream(t, nil, e.serve)
	resp, body := g.open(g.kit.Context()) // the header must arrive before the first event
	if resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("X-Accel-Buffering") != "no" || resp.Header.Get("X-Last") != "5" {
		t.Errorf("header %v", resp.Header)
	}
	var slowest time.Duration
	for i := range 50 {
		began := time.Now()
		e.frames <- fmt.Sprintf("id: %d\n\n", i)
		line, err := body.ReadString('\n')
		if err != nil || line != fmt.Sprintf("id: %d\n", i) {
			t.Fatalf("frame %d is %q, %v", i, line, err)
		}
		_, _ = body.ReadString('\n')
		slowest = max(slowest, time.Since(began))
	}
	t.Logf("slowest frame %v", slowest)
	close(e.frames)
	if rest, err := io.ReadAll(body); err != nil || len(rest) != 0 {
		t.Errorf("the end: %q, %v", rest, err)
	}
}

func TestAClientThatLeavesEndsTheRequestToTheTracker(t *testing.T) {
	t.Parallel()
	e := newEvents()
	g, _ := startWithUpstream(t, nil, e.serve)
	ctx, leave := context.WithCancel(g.kit.Context())
	_, body := g.open(ctx)
	e.frames <- "data: 1\n\n"
	if _, err := body.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	leave()
	timeout := time.After(30 * time.Second) // limits the loop if the stream never ends
	for {
		select {
		case e.frames <- ": heartbeat\n\n":
		case <-e.gone:
			return
		case <-timeout:
			t.Fatal("the tracker's stream goes on")
		}
	}
}

func TestABrokenBodyOfAnUpstreamDoesNotLookComplete(t *testing.T) {
	t.Parallel()
	g, _ := startWithUpstream(t, nil, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "" {
			w.Header().Set("Content-Length", "100")
		}
		_, _ = io.WriteString(w, `{"job`)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	for _, query := range []string{"", "?known"} {
		if r, err := g.try(g.kit.Context(), "GET", result+query, nil, nil); err == nil {
			t.Errorf("%q came whole: %s", query, r.text)
		}
	}
}

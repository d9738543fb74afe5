package scenario

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"sori.internal/infra/bench/internal/target"
	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/shared/wait"
)

// attacker is the client that attacks. All of its requests come from one address, and those with
// credentials have one API key. Its methods are safe for concurrent use.
type attacker struct {
	gateway string               // base URL
	key     string               // an API key
	address string               // sent as X-Forwarded-For; the gateway must trust the loopback address
	token   int64                // id of the token to upload to
	stub    *target.StubAnalyzer // completes jobs with results that the attacker chooses; nil while the reference analysis server is used

	http *http.Client
	job  string // the job that the attack has prepared

	once  sync.Once     // closes began
	began chan struct{} // closed when the first request is sent after reset

	mu    sync.Mutex
	tally map[string]int
}

// newAttacker returns a client for one attack.
func newAttacker(gateway, key, address string, token int64) *attacker {
	return &attacker{
		gateway: gateway, key: key, address: address, token: token, tally: map[string]int{}, began: make(chan struct{}),
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}},
	}
}

// close closes idle connections.
func (a *attacker) close() { a.http.CloseIdleConnections() }

// The keys under which requests without a response are counted, in place of a status.
const (
	unanswered = "none" // the attack ended before the request was answered
	broken     = "cut"  // the connection ended before the request was answered
)

// answers returns the number of requests by the status of the response.
func (a *attacker) answers() map[string]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.tally)
}

// reset sets the counts of answers to zero. No request may be under way.
func (a *attacker) reset() {
	a.tally, a.once, a.began = map[string]int{}, sync.Once{}, make(chan struct{})
}

// begin is called before a request is sent.
func (a *attacker) begin() { a.once.Do(func() { close(a.began) }) }

func (a *attacker) count(answer string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tally[answer]++
}

// request is one request. Without a body it has no Content-Type.
type request struct {
	method, path string
	contentType  string
	body         []byte
	anonymous    bool // the request has no credentials
}

// send sends a request, counts the answer, and decodes it into the parameter into unless that is nil.
func (a *attacker) send(ctx context.Context, r request, into any) {
	status, err := a.answer(ctx, r, into)
	switch {
	case status != 0:
		a.count(strconv.Itoa(status))
	case ctx.Err() != nil:
		a.count(unanswered)
	case err != nil:
		a.count(broken)
	}
}

func (a *attacker) answer(ctx context.Context, r request, into any) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, r.method, a.gateway+r.path, bytes.NewReader(r.body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("X-Forwarded-For", a.address)
	if !r.anonymous {
		req.Header.Set("Authorization", "Bearer "+a.key)
	}
	if r.contentType != "" {
		req.Header.Set("Content-Type", r.contentType)
	}
	a.begin()
	resp, err := a.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if into != nil && resp.StatusCode < http.StatusMultipleChoices {
		return resp.StatusCode, json.NewDecoder(resp.Body).Decode(into)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// upload uploads a file and returns the id of its job, or "" if the upload was not accepted.
func (a *attacker) upload(ctx context.Context, name string, file []byte) string {
	form := loadgen.RecordingOf(name, file).Form()
	body, _ := io.ReadAll(form.Body) // reading from memory cannot fail
	var accepted client.Job
	a.send(ctx, request{method: http.MethodPost, path: a.uploadPath(), contentType: form.ContentType, body: body}, &accepted)
	return accepted.JobID
}

func (a *attacker) uploadPath() string { return fmt.Sprintf("/tokens/%d/upload-audio", a.token) }

// repeat calls the function do at a fixed rate until ctx ends. While the given number of concurrent calls are
// running, it waits until one of them returns.
func (a *attacker) repeat(ctx context.Context, concurrent int, perSecond float64, do func(ctx context.Context, i int)) {
	var calls sync.WaitGroup
	defer calls.Wait()
	slots := make(chan struct{}, concurrent)
	tick := time.NewTicker(time.Duration(float64(time.Second) / perSecond))
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		calls.Go(func() {
			defer func() { <-slots }()
			do(ctx, i)
		})
	}
}

// held is a request on a separate connection, which hold keeps open.
type held struct {
	request
	length  int64 // the Content-Length, if it is larger than the body that is sent
	trickle bool  // after the body, one more byte is sent every trickleEvery
	reads   bool  // close the connection after the answer; otherwise keep it open and do not read the answer

	again time.Duration // the pause after the end of a connection before the request is sent again
}

const (
	trickleEvery = 2 * time.Second
	openIn       = 2 * time.Second
	smallBuffer  = 4 << 10 // buffer size of a connection that is not read
)

// hold keeps n connections open until ctx ends, each with a request. It opens them one after the other within openIn,
// since sending all bodies at once would measure the speed of this program. It replaces a connection that is closed by
// another one.
func (a *attacker) hold(ctx context.Context, n int, next func(i int) held) {
	var open sync.WaitGroup
	for i := range n {
		open.Go(func() {
			h := next(i)
			_ = wait.For(ctx, time.Duration(i)*openIn/time.Duration(n))
			for ctx.Err() == nil {
				a.connect(ctx, h)
				_ = wait.For(ctx, h.again)
			}
		})
	}
	open.Wait()
}

// connect sends one request and returns when its connection is closed or ctx has ended.
func (a *attacker) connect(ctx context.Context, h held) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", strings.TrimPrefix(a.gateway, "http://"))
	if err != nil {
		if ctx.Err() == nil {
			a.count(broken)
		}
		return
	}
	a.begin()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if tcp, ok := conn.(*net.TCPConn); ok && !h.reads {
		_ = tcp.SetReadBuffer(smallBuffer)
	}
	var writing sync.WaitGroup
	defer writing.Wait()
	defer conn.Close()
	answered := make(chan struct{})
	writing.Go(func() { a.write(conn, h, answered) })
	status := make([]byte, len("HTTP/1.1 200"))
	_, err = io.ReadFull(conn, status)
	close(answered)
	switch {
	case err == nil:
		a.count(string(status[len("HTTP/1.1 "):]))
	case ctx.Err() != nil:
		a.count(unanswered)
	default:
		a.count(broken)
	}
	if err == nil && !h.reads && status[len("HTTP/1.1 ")] == '2' {
		<-ctx.Done()
	}
}

// write sends the request and, if trickle is set, then one byte every trickleEvery until the response begins.
func (a *attacker) write(conn net.Conn, h held, answered <-chan struct{}) {
	if _, err := conn.Write(append([]byte(a.head(h)), h.body...)); err != nil || !h.trickle {
		return
	}
	tick := time.NewTicker(trickleEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-answered:
			return
		}
		if _, err := conn.Write([]byte("x")); err != nil {
			return
		}
	}
}

// head returns the header of a request.
func (a *attacker) head(h held) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: %s\r\n", h.method, h.path, a.address)
	if !h.anonymous {
		fmt.Fprintf(&b, "Authorization: Bearer %s\r\n", a.key)
	}
	if h.contentType != "" {
		fmt.Fprintf(&b, "Content-Type: %s\r\nContent-Length: %d\r\n", h.contentType, max(h.length, int64(len(h.body))))
	}
	return b.String() + "\r\n"
}

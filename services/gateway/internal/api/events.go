package api

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// The times of an event stream.
const (
	resumeFor   = 30 * time.Second // how long a replica is looked for that goes on with a stream
	resumePause = 100 * time.Millisecond
	resumeMost  = 2 * time.Second // the longest pause between two tries
	comeBack    = time.Second     // the least that a client waits after a stop; at most twice as long
)

// maxEventHead bounds what is held of an event before its data.
const maxEventHead = 1 << 10

const eventStream = "text/event-stream"

// events is the body of an event stream on its way from an upstream to a client.
// Where the upstream breaks or hands the stream over, another replica goes on
// with it, behind the last event that was sent, and the client notices nothing:
//
//  1. An event goes to the client line by line as it comes; only what stands
//     before its data is held, to know its id. Events may be large.
//  2. After a resumption an event whose id is not greater than the last one sent
//     is dropped: none comes twice, none is older than the one before.
//  3. A stream is resumed only between two events. One that breaks in the middle
//     of an event ends, since the client has the beginning; it comes back itself.
//  4. A stream that ended by itself has told the end of its job. One that was
//     handed over has not: its last words are "retry" alone.
type events struct {
	ctx    context.Context //nolint:containedctx // of the exchange, which Read has no parameter for
	resume func(ctx context.Context, lastEventID string) (*http.Response, error)
	body   io.ReadCloser
	lines  *bufio.Reader

	out      []byte        // for the client
	head     []byte        // of the event that has begun, before its data
	last     int64         // the id that was sent last, -1 where there was none
	inside   bool          // of an event whose head is done
	dropping bool          // that event
	partial  bool          // the line that was read last goes on
	handed   bool          // the last words were "retry" alone
	broke    time.Time     // when the upstream did; zero while it has not
	pause    time.Duration // before the next try to resume
	over     bool
	leaving  atomic.Bool // the gateway hands the stream over
}

func newEvents(ctx context.Context, body io.ReadCloser, resume func(context.Context, string) (*http.Response, error)) *events {
	return &events{ctx: ctx, resume: resume, body: body, lines: bufio.NewReader(body), last: -1}
}

// Read implements io.Reader.
func (e *events) Read(p []byte) (int, error) {
	for len(e.out) == 0 {
		if e.over {
			return 0, io.EOF
		}
		if !e.broke.IsZero() {
			e.again()
			continue
		}
		line, err := e.lines.ReadSlice('\n')
		if len(line) > 0 && (err == nil || errors.Is(err, bufio.ErrBufferFull)) {
			e.take(line, err == nil)
			continue
		}
		e.broken(err)
	}
	n := copy(p, e.out)
	e.out = e.out[n:]
	return n, nil
}

// take takes a line, or a part of one that does not fit the buffer.
func (e *events) take(line []byte, whole bool) {
	empty := whole && !e.partial && len(bytes.TrimRight(line, "\r\n")) == 0
	e.partial = !whole
	switch {
	case empty:
		e.handed = !e.inside && bytes.HasPrefix(e.head, []byte("retry:")) && bytes.Count(e.head, []byte("\n")) == 1
		e.pass(append(e.head, line...))
		e.head, e.inside, e.dropping = nil, false, false
	case e.inside:
		e.pass(line)
	case bytes.HasPrefix(line, []byte("data")) || !whole || len(e.head)+len(line) > maxEventHead:
		if id, ok := eventID(e.head); ok {
			e.dropping = id <= e.last
			e.last = max(e.last, id)
		}
		e.pass(append(e.head, line...))
		e.head, e.inside = nil, true
	default:
		e.head = append(e.head, line...)
	}
}

func (e *events) pass(line []byte) {
	if !e.dropping {
		e.out = append(e.out[:0], line...)
	}
}

// eventID finds the id among the lines before an event's data.
func eventID(head []byte) (int64, bool) {
	for line := range bytes.Lines(head) {
		if value, ok := bytes.CutPrefix(line, []byte("id:")); ok {
			id, err := strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
			return id, err == nil
		}
	}
	return 0, false
}

// broken decides what follows the end of the upstream's body.
func (e *events) broken(err error) {
	_ = e.body.Close()
	switch {
	case e.inside || errors.Is(err, io.EOF) && !e.handed:
		e.over = true
	default:
		e.head, e.partial, e.handed = nil, false, false
		e.broke, e.pause = time.Now(), resumePause
	}
}

// again asks another replica to go on with the stream, once. One that answers
// with anything but a stream knows of an end: 204 that the client has seen it.
// After each try that failed the client is sent a comment: it may have left.
func (e *events) again() {
	if e.leaving.Load() {
		e.out, e.over = fmt.Appendf(nil, "retry: %d\n\n", (comeBack+rand.N(comeBack)).Milliseconds()), true
		return
	}
	id := ""
	if e.last >= 0 {
		id = strconv.FormatInt(e.last, 10)
	}
	resp, err := e.resume(e.ctx, id)
	switch {
	case err == nil && resp.StatusCode == http.StatusOK:
		e.body, e.broke = resp.Body, time.Time{}
		e.lines.Reset(resp.Body)
		return
	case err == nil:
		_ = resp.Body.Close()
		e.over = resp.StatusCode < http.StatusInternalServerError
	}
	if e.over || time.Since(e.broke) > resumeFor {
		e.over = true
		return
	}
	timer := time.NewTimer(e.pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		e.out, e.pause = append(e.out[:0], ": waiting\n\n"...), min(2*e.pause, resumeMost)
	case <-e.ctx.Done(): // the stream is handed over, or the client has left
		e.over = !e.leaving.Load()
	}
}

// leave hands the stream over, at some moment of the time given, since all other
// clients come back as well. It ends the exchange.
func (e *events) leave(within time.Duration, cancel context.CancelFunc) {
	timer := time.NewTimer(rand.N(within + 1))
	defer timer.Stop()
	select {
	case <-timer.C:
		e.leaving.Store(true)
		cancel()
	case <-e.ctx.Done():
	}
}

// Close implements io.Closer.
func (e *events) Close() error { return e.body.Close() } //nolint:wrapcheck // nobody looks at it

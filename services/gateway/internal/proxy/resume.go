package proxy

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

	"sori.internal/services/gateway/internal/httpserver"
	"sori.internal/shared/fault"
	"sori.internal/shared/wait"
)

// The times of the resumption of an event stream.
const (
	resumeTimeout  = 30 * time.Second // how long the gateway tries to find another replica
	minResumePause = 100 * time.Millisecond
	maxResumePause = 2 * time.Second // longest pause between two tries
	minRetry       = time.Second     // delay after which the client reconnects after a shutdown; at most twice as long
)

// maxEventHead limits the bytes of an event that are buffered before its data.
const maxEventHead = 1 << 10

// resumableStream is the body of an event stream of an upstream. If the connection breaks, or if
// the upstream ends the stream in its shutdown, the gateway continues the stream from another
// replica after the last event that was sent. The client's connection stays open:
//
//  1. An event is sent to the client line by line, since events may be large. Only the lines before
//     its data are buffered, to find its id.
//  2. An event is dropped if its id is not greater than the last id that was sent. So after a
//     resumption the client receives no event twice, and no event that is older than the one
//     before.
//  3. A stream is resumed only between two events. If it breaks in the middle of an event, the
//     client has received the beginning of this event. Then the stream ends, and the client
//     reconnects.
//  4. If the upstream ends the stream after an event, the job has ended, and the stream ends too.
//     In its shutdown, the upstream ends the stream after "retry" alone, and the stream is resumed.
type resumableStream struct {
	ctx        context.Context //nolint:containedctx // context of the exchange; Read has no parameter for it
	cancel     context.CancelFunc
	unregister func() bool // unregisters the stream from the shutdown
	reconnect  func(ctx context.Context, lastEventID string) (*http.Response, error)
	body       io.ReadCloser
	lines      *bufio.Reader

	out      []byte        // bytes that the client is about to read
	head     []byte        // the lines of the current event before its data
	last     int64         // id of the last event that was sent, -1 if there was none
	inData   bool          // the data of the current event has begun
	dropping bool          // the current event is dropped
	partial  bool          // the last line is not complete yet
	retry    bool          // the last event was "retry" alone
	broken   time.Time     // when the connection to the upstream broke; zero while it works
	pause    time.Duration // pause before the next try to resume
	done     bool
	ending   atomic.Bool // the gateway ends the stream in its own shutdown
}

// resumable makes a resumable stream from body, the body of the upstream's answer to the request
// in. The shutdown ends the stream.
func (h Handler) resumable(ctx context.Context, cancel context.CancelFunc, in *http.Request, body io.ReadCloser) *resumableStream {
	reconnect := func(ctx context.Context, lastEventID string) (*http.Response, error) {
		again := *in
		again.Header = in.Header.Clone()
		if lastEventID != "" {
			again.Header.Set("Last-Event-ID", lastEventID)
		}
		p, err := httpserver.Renew(ctx) // the credentials may have expired or been revoked since the stream began
		if err != nil {
			return nil, err
		}
		if err := h.identify(&again, p); err != nil {
			return nil, err
		}
		return h.Upstream.Forward(ctx, &again)
	}
	s := &resumableStream{
		ctx: ctx, cancel: cancel, reconnect: reconnect, body: body, lines: bufio.NewReader(body), last: -1,
	}
	s.unregister = h.Shutdown.OnEndStreams(func() { s.end(h.Shutdown.StreamSpread) })
	return s
}

// Read implements io.Reader. If the upstream fails and the stream cannot be resumed, Read returns
// io.EOF, and the client reconnects.
func (s *resumableStream) Read(p []byte) (int, error) {
	for len(s.out) == 0 {
		if s.done {
			return 0, io.EOF
		}
		if !s.broken.IsZero() {
			s.resume()
			continue
		}
		line, err := s.lines.ReadSlice('\n')
		if len(line) > 0 && (err == nil || errors.Is(err, bufio.ErrBufferFull)) {
			s.handleLine(line, err == nil)
			continue
		}
		s.handleEnd(err)
	}
	n := copy(p, s.out)
	s.out = s.out[n:]
	return n, nil
}

// handleLine processes a line, or a part of a line that is larger than the buffer.
func (s *resumableStream) handleLine(line []byte, complete bool) {
	endsEvent := complete && !s.partial && len(bytes.TrimRight(line, "\r\n")) == 0
	s.partial = !complete
	switch {
	case endsEvent:
		s.retry = !s.inData && bytes.HasPrefix(s.head, []byte("retry:")) && bytes.Count(s.head, []byte("\n")) == 1
		heartbeat := !s.inData && bytes.HasPrefix(s.head, []byte(":"))
		s.send(append(s.head, line...))
		s.head, s.inData, s.dropping = nil, false, false
		if heartbeat && s.revoked() {
			s.endWithRetry() // the client gets the failure as the answer when it reconnects
		}
	case s.inData:
		s.send(line)
	case bytes.HasPrefix(line, []byte("data")) || !complete || len(s.head)+len(line) > maxEventHead:
		if id, ok := eventID(s.head); ok {
			s.dropping = id <= s.last
			s.last = max(s.last, id)
		}
		s.send(append(s.head, line...))
		s.head, s.inData = nil, true
	default:
		s.head = append(s.head, line...)
	}
}

// revoked reports whether the credentials of the client are no longer valid. It is called at each
// heartbeat of the upstream. While the credentials cannot be checked, the stream continues.
func (s *resumableStream) revoked() bool {
	_, err := httpserver.Renew(s.ctx)
	return isDenied(err)
}

// isDenied reports whether err means that the client may no longer read the stream.
func isDenied(err error) bool {
	return fault.Is(err, fault.Unauthenticated) || fault.Is(err, fault.Forbidden)
}

func (s *resumableStream) send(line []byte) {
	if !s.dropping {
		s.out = append(s.out[:0], line...)
	}
}

// eventID finds the id among the lines of an event before its data.
func eventID(head []byte) (int64, bool) {
	for line := range bytes.Lines(head) {
		if value, ok := bytes.CutPrefix(line, []byte("id:")); ok {
			id, err := strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
			return id, err == nil
		}
	}
	return 0, false
}

// handleEnd handles the end of the body of the upstream: the stream ends or is resumed.
func (s *resumableStream) handleEnd(err error) {
	_ = s.body.Close()
	switch {
	case s.inData || errors.Is(err, io.EOF) && !s.retry:
		s.done = true
	default:
		s.head, s.partial, s.retry = nil, false, false
		s.broken, s.pause = time.Now(), minResumePause
	}
}

// resume tries once to continue the stream from another replica. The stream continues if the
// replica answers with the status 200, and ends if it answers with any other status below 500. The
// status is 204 if the client has received all events of the job. After each failed try a comment
// is sent to the client, so that the write fails if the client has left.
func (s *resumableStream) resume() {
	if s.ending.Load() {
		s.endWithRetry()
		return
	}
	id := ""
	if s.last >= 0 {
		id = strconv.FormatInt(s.last, 10)
	}
	resp, err := s.reconnect(s.ctx, id)
	switch {
	case isDenied(err):
		s.done = true // the client gets the failure as the answer when it reconnects
	case err == nil && resp.StatusCode == http.StatusOK:
		s.body, s.broken = resp.Body, time.Time{}
		s.lines.Reset(resp.Body)
		return
	case err == nil:
		_ = resp.Body.Close()
		s.done = resp.StatusCode < http.StatusInternalServerError
	}
	if s.done || time.Since(s.broken) > resumeTimeout {
		s.done = true
		return
	}
	if wait.For(s.ctx, s.pause) != nil { // end was called, or the client has left
		s.done = !s.ending.Load()
		return
	}
	s.out, s.pause = append(s.out[:0], ": waiting\n\n"...), min(2*s.pause, maxResumePause)
}

// endWithRetry ends the stream with the delay after which the client reconnects.
func (s *resumableStream) endWithRetry() {
	s.out, s.done = fmt.Appendf(nil, "retry: %d\n\n", (minRetry+rand.N(minRetry)).Milliseconds()), true
}

// end ends the stream at a random moment within a duration, so that not all clients reconnect at
// once.
func (s *resumableStream) end(within time.Duration) {
	if wait.For(s.ctx, rand.N(within+1)) == nil {
		s.ending.Store(true)
		s.cancel()
	}
}

// Close implements io.Closer. It ends the exchange with the upstream.
func (s *resumableStream) Close() error {
	_ = s.body.Close()
	s.cancel()
	s.unregister()
	return nil
}

package api

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"time"

	"github.com/gofiber/fiber/v2"

	"sori.internal/shared/fault"
)

// Upstream passes requests on to another service. The answer's body ends with
// ctx, and is the caller's to close.
type Upstream interface {
	Pass(ctx context.Context, r *http.Request) (*http.Response, error)
	// Announce passes on a request whose body is too large, without the body.
	Announce(ctx context.Context, r *http.Request) (*http.Response, error)
}

// waiters is how long a request that waits for another service's answer may do
// so after a stop: enough for an ordinary one, and the end of a long poll.
const waiters = time.Second

// passage passes the requests of a route on, both ways without keeping more of
// a body than a buffer.
type passage struct {
	to      Upstream
	maxBody int64
	tell    bool // the other service is told of bodies that are too large: it keeps who refused what
	pace    Pace
	goodbye time.Duration // over which event streams end, once they are to
}

// streamKey finds the stream that a request is answered with, among its locals.
type streamKey struct{}

// handler passes requests on. Those that wait for an answer are hurried when
// stopped ends, event streams are handed over when streams does.
func (p passage) handler(stopped, streams context.Context) fiber.Handler {
	return func(c *fiber.Ctx) error { return p.pass(stopped, streams, c) } //nolint:contextcheck // a request has the context that observe gave it
}

func (p passage) pass(stopped, streams context.Context, c *fiber.Ctx) error { //nolint:contextcheck // as above
	b := newBody(c, p.maxBody, p.pace)
	if b.length > p.maxBody && !p.tell {
		return tooLarge(p.maxBody)
	}
	in, err := inbound(c, b)
	if err != nil {
		return err
	}
	send := p.to.Pass
	if b.length > p.maxBody {
		send = p.to.Announce
	}
	ctx, cancel := context.WithCancel(c.UserContext())
	answered := make(chan struct{})
	if in.Body == http.NoBody {
		unwatch := context.AfterFunc(stopped, func() { hurry(ctx, cancel, answered) })
		defer unwatch()
	}
	resp, err := send(ctx, in) //nolint:contextcheck // as above
	close(answered)
	if broken := b.detach(); broken != nil && err != nil {
		err = broken // it is the client's body that failed, not the other service
	}
	if err != nil && b.length > p.maxBody {
		err = tooLarge(p.maxBody)
	}
	if err != nil {
		stopped := ctx.Err() != nil
		cancel()
		if stopped {
			return stopping(err)
		}
		return err
	}
	if b.length > p.maxBody {
		linger(c)
	}
	s := answer(c, resp, cancel)
	if s == nil || !isEvents(resp) {
		return nil
	}
	e := newEvents(ctx, resp.Body, func(ctx context.Context, last string) (*http.Response, error) { //nolint:contextcheck // as above
		again := *in
		again.Header = in.Header.Clone()
		if last != "" {
			again.Header.Set("Last-Event-ID", last)
		}
		return p.to.Pass(ctx, &again)
	})
	s.body, s.endless = e, true
	s.stop = context.AfterFunc(streams, func() { e.leave(p.goodbye, cancel) })
	return nil
}

func isEvents(resp *http.Response) bool {
	mediaType, _, err := mime.ParseMediaType(resp.Header.Get(fiber.HeaderContentType))
	return err == nil && mediaType == eventStream && resp.StatusCode == http.StatusOK
}

// hurry ends a request that still waits for its answer a while after a stop.
func hurry(ctx context.Context, cancel context.CancelFunc, answered <-chan struct{}) {
	timer := time.NewTimer(waiters)
	defer timer.Stop()
	select {
	case <-timer.C:
		cancel()
	case <-answered:
	case <-ctx.Done():
	}
}

// inbound is the request as net/http has it.
func inbound(c *fiber.Ctx, b *body) (*http.Request, error) {
	u, err := url.ParseRequestURI(string(c.Request().URI().PathOriginal()))
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "malformed-request", "The path of the request is malformed.", err)
	}
	u.RawQuery = string(c.Request().URI().QueryString())
	header := http.Header{}
	for name, value := range c.Request().Header.All() {
		switch key := string(name); key {
		case fiber.HeaderHost, fiber.HeaderContentLength, declaredHeader:
		default:
			header.Add(key, string(value))
		}
	}
	in := &http.Request{
		Method: c.Method(), URL: u, Header: header, Host: string(c.Request().Host()),
		RemoteAddr: c.Context().RemoteAddr().String(), Body: b, ContentLength: b.length,
	}
	if b.length == 0 {
		in.Body = http.NoBody // which net/http may send again on another connection
	}
	return in, nil
}

// answer gives a response on. Its body is written after the handler has
// returned, and every piece of an unknown length is flushed as it comes. It
// returns nil where the answer has no body.
func answer(c *fiber.Ctx, resp *http.Response, cancel context.CancelFunc) *stream {
	out := c.Response()
	for name, values := range resp.Header {
		if name == fiber.HeaderContentLength || corsHeader(name) {
			continue // the framing is the server's, and pages are the edge's to allow
		}
		out.Header.Del(name)
		for _, v := range values {
			out.Header.Add(name, v)
		}
	}
	c.Status(resp.StatusCode)
	if c.Method() == http.MethodHead || resp.StatusCode == http.StatusNotModified || resp.StatusCode == http.StatusNoContent {
		_ = resp.Body.Close()
		cancel()
		if resp.ContentLength >= 0 && c.Method() == http.MethodHead {
			out.SkipBody = true
			out.Header.SetContentLength(int(resp.ContentLength))
		}
		return nil
	}
	s := &stream{body: resp.Body, cancel: cancel}
	out.ImmediateHeaderFlush = isEvents(resp)
	c.Locals(streamKey{}, s)
	out.SetBodyStream(s, int(resp.ContentLength))
	return s
}

// stream is a body on its way from another service to a client.
type stream struct {
	body    io.ReadCloser
	cancel  context.CancelFunc
	endless bool        // an event stream, which has no end to wait for
	stop    func() bool // ends the watch for the end of streams
	over    func(written int64)
	written int64
}

// Read implements io.Reader. An event stream that breaks simply ends: the client
// comes again. Any other body must not look whole.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	s.written += int64(n)
	if err != nil && s.endless && !errors.Is(err, io.EOF) {
		err = io.EOF
	}
	return n, err //nolint:wrapcheck // io.EOF must stay what it is
}

// Close implements io.Closer. It frees the other service, whether the stream
// ended or the client left.
func (s *stream) Close() error {
	_ = s.body.Close()
	s.cancel()
	if s.stop != nil {
		s.stop()
	}
	if s.over != nil { // once: the server closes a body again when it forgets the response
		s.over(s.written)
		s.over = nil
	}
	return nil
}

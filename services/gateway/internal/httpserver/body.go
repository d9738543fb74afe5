package httpserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"sori.internal/shared/fault"
	"sori.internal/shared/minrate"
)

// DeclaredLengthHeader is the header by which the server tells a handler the declared length of a
// body that it does not read, since the body is too large for the route. A client cannot set it.
const DeclaredLengthHeader = "X-Sori-Declared-Length"

// deniedHeader marks a request whose body was not read, since its sender may not use the route. A
// client cannot set it.
const deniedHeader = "X-Sori-Denied"

// headerReceived is called after the header of a request has arrived, before its body is read.
//
// A body is not read if its declared length is larger than the limit of its route and than
// Server.MaxBody, if its sender may not use the route, or if the answer is known without it
// (Early). The answer is then sent without waiting for the body, and without a 100 Continue.
// fasthttp treats such a request as one without a body, and closes its connection after the answer.
//
// Of any other body, fasthttp reads one byte before the handler runs, not its usual 8 KiB: a slow
// client could delay these 8 KiB beyond the deadlines of the body.
func (s *Server) headerReceived(work context.Context, router *Router, h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	h.Del(DeclaredLengthHeader)
	h.Del(deniedHeader)
	h.Del(earlyHeader)
	switch n := h.ContentLength(); {
	case int64(n) > s.MaxBody && int64(n) > router.maxBody(h, s.BasePath):
		dropBody(h)
		h.Set(DeclaredLengthHeader, strconv.Itoa(n))
	case (n > 0 || n == chunked) && !router.allows(work, h, s.BasePath):
		dropBody(h)
		h.Set(deniedHeader, "true")
	case n > 0 || n == chunked:
		if answer := router.early(work, h, s.BasePath); answer != "" {
			dropBody(h)
			h.Set(earlyHeader, answer)
		}
	}
	return fasthttp.RequestConfig{MaxRequestBodySize: 1}
}

// chunked is the value by which fasthttp represents the length of a chunked body, which is not
// declared.
const chunked = -1

// dropBody removes the body of a request. The connection is closed after the answer.
func dropBody(h *fasthttp.RequestHeader) {
	h.SetContentLength(0)
	h.Del(fiber.HeaderExpect)
	h.SetConnectionClose()
}

// DeclaredLength returns the length that the header of a request declares; -1 if it declares none.
func DeclaredLength(c *fiber.Ctx) int64 {
	if n, err := strconv.ParseInt(c.Get(DeclaredLengthHeader), 10, 64); err == nil {
		return n
	}
	switch n := c.Context().Request.Header.ContentLength(); n {
	case chunked:
		return -1
	case -2: // neither Content-Length nor chunked: no body (RFC 9112, section 6.3)
		return 0
	default:
		return int64(n)
	}
}

// BodyLimits limit the time in which a body must arrive, and the memory of bodies that ReadBody
// reads.
type BodyLimits struct {
	Idle    time.Duration // longest time without a byte, and how far the body may lag behind MinRate
	Total   time.Duration // the longest time of the whole body
	MinRate int64         // bytes per second; see package minrate
	Memory  *BodyMemory   // memory of the bodies that ReadBody reads
}

// Body reads the body of a request. It enforces the declared length, a limit and timeouts. It
// returns io.EOF only at the real end of the body; fasthttp returns io.EOF also for a truncated
// body.
type Body struct {
	ctx      *fasthttp.RequestCtx // context of the request that the body belongs to
	length   int64                // as declared; -1 if none is declared
	limit    int64
	deadline time.Time

	detached atomic.Bool // see Detach

	mu   sync.Mutex // net/http may read the body in a goroutine other than the handler's
	r    io.Reader
	pace minrate.Meter
	read int64
	err  error // error of the last read
}

// NewBody makes the reader of a request's body. If the body is larger than limit, Read fails with
// TooLarge.
func NewBody(c *fiber.Ctx, limit int64, t BodyLimits) *Body {
	b := &Body{
		ctx: c.Context(), length: DeclaredLength(c), limit: limit,
		pace:     minrate.Limit{BytesPerSecond: t.MinRate, Lag: t.Idle}.Meter(),
		deadline: time.Now().Add(t.Total), r: c.Context().RequestBodyStream(),
	}
	if b.r == nil {
		b.r = eof{}
	}
	return b
}

// NoBody returns a Body that is empty, for a request whose body was read already.
func NoBody(c *fiber.Ctx) *Body { return &Body{ctx: c.Context(), r: eof{}} }

// Length returns the declared length in bytes, or -1 if none is declared.
func (b *Body) Length() int64 { return b.length }

// Read implements io.Reader.
func (b *Body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, b.err
	}
	if b.length > b.limit {
		b.err = TooLarge(b.limit)
		return 0, b.err
	}
	began := time.Now()
	deadline := began.Add(b.pace.Remaining(0))
	if b.deadline.Before(deadline) {
		deadline = b.deadline
	}
	// RequestCtx resets its deadline at the end of the request. A deadline that is set on the
	// connection itself would remain.
	if err := b.ctx.SetReadDeadline(deadline); err != nil {
		b.err = truncated(err)
		return 0, b.err
	}
	if b.detached.Load() { // checked after SetReadDeadline, which may have replaced the deadline that Detach has set
		return 0, errDetached
	}
	n, err := b.r.Read(p)
	b.pace.Add(n, time.Since(began))
	b.read += int64(n)
	switch {
	case b.read > b.limit:
		n, b.err = 0, TooLarge(b.limit)
	case errors.Is(err, io.EOF) && b.length > b.read:
		b.err = truncated(fmt.Errorf("%d of %d bytes: %w", b.read, b.length, io.ErrUnexpectedEOF))
	case errors.Is(err, io.EOF) && b.length < 0 && b.clientEnded(): // the client has closed its side before the last chunk
		b.err = truncated(io.ErrUnexpectedEOF)
	case errors.Is(err, io.EOF):
		b.err = io.EOF
	case err != nil:
		b.err = truncated(err)
	}
	return n, b.err
}

// clientEnded reports whether a read has noticed that the client has closed its side of the
// connection. Nothing is read after the last chunk of a complete body, so a read notices that only if
// the body is truncated.
func (b *Body) clientEnded() bool {
	c, ok := b.ctx.Conn().(*conn)
	return ok && c.ended.Load()
}

// Close implements io.Closer.
func (b *Body) Close() error { return nil }

// Detach ends the reading of the body. It returns the error of an earlier read, except io.EOF.
// After Detach no read of the body reads from the connection, whose next bytes belong to the next
// request: a net/http Transport may continue to read a body after it has returned the response.
func (b *Body) Detach() error {
	b.detached.Store(true)
	if !b.mu.TryLock() { // another goroutine is reading: a deadline in the past interrupts it
		_ = b.ctx.SetReadDeadline(time.Unix(1, 0))
		b.mu.Lock()
	}
	defer b.mu.Unlock()
	if errors.Is(b.err, io.EOF) {
		return nil
	}
	return b.err
}

// Unread reports whether a part of the body was not read. It may be called after Detach.
func (b *Body) Unread() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !errors.Is(b.err, io.EOF) && b.length != b.read
}

var errDetached = errors.New("the body is no longer read")

// TooLarge returns the failure of a body that is larger than limit.
func TooLarge(limit int64) error { return fault.ExceedsLimit("body", limit, nil) }

// truncated returns the failure of a body whose end did not arrive, or did not arrive in time.
func truncated(cause error) error {
	var slow net.Error
	if errors.As(cause, &slow) && slow.Timeout() {
		return fault.Wrap(fault.RequestTimeout, codeTimeout, "The body came too slowly.", cause)
	}
	return fault.BodyTruncated(cause)
}

// eof is an empty body.
type eof struct{}

// Read implements io.Reader.
func (eof) Read([]byte) (int, error) { return 0, io.EOF }

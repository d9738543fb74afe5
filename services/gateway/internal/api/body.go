package api

import (
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
)

// declaredHeader carries the declared length of a body that is too large for any
// route, from where the header is read to the handler. A client cannot set it.
const declaredHeader = "X-Sori-Declared-Length"

// headerReceived looks at a request's header before its body.
//
// A body that declares more than any route takes is not asked for and not read:
// its 413 must not wait for a byte of it, nor come after a 100 Continue. For the
// server such a request has no body and its connection ends with the answer.
//
// Of any other body one byte is read ahead, not fasthttp's 8 KiB, which a slow
// client could hold back from the body's own deadlines.
func (r *Routes) headerReceived(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	h.Del(declaredHeader)
	if n := h.ContentLength(); int64(n) > max(r.MaxUploadBody, r.MaxWebhookBytes, maxJSON) {
		h.SetContentLength(0)
		h.Del(fiber.HeaderExpect)
		h.SetConnectionClose()
		h.Set(declaredHeader, strconv.Itoa(n))
	}
	return fasthttp.RequestConfig{MaxRequestBodySize: 1}
}

// declaredLength is how long a request's body says it is; -1 where it does not.
func declaredLength(c *fiber.Ctx) int64 {
	if n, err := strconv.ParseInt(c.Get(declaredHeader), 10, 64); err == nil {
		return n
	}
	switch n := c.Context().Request.Header.ContentLength(); n {
	case -1: // chunked
		return -1
	case -2: // neither a length nor chunks: no body (RFC 9112, section 6.3)
		return 0
	default:
		return int64(n)
	}
}

// Pace is how fast a body must come.
type Pace struct {
	Idle  time.Duration // the longest time without a byte
	Total time.Duration
}

// body reads a request's body and keeps the client to its word and to a pace.
// It ends with io.EOF only where the body does; fasthttp ends one that is cut
// short like a whole one.
type body struct {
	ctx    *fasthttp.RequestCtx // of the request that the body belongs to
	length int64                // declared, -1 where it is not
	limit  int64
	pace   Pace
	until  time.Time

	detached atomic.Bool // see detach

	mu   sync.Mutex // a reader may be another goroutine than the handler's
	r    io.Reader
	read int64
	err  error // what reading ended with
}

// newBody makes the reader of a request's body. A body beyond the limit fails
// with too-large.
func newBody(c *fiber.Ctx, limit int64, p Pace) *body {
	b := &body{
		ctx: c.Context(), length: declaredLength(c), limit: limit, pace: p,
		until: time.Now().Add(p.Total), r: c.Context().RequestBodyStream(),
	}
	if b.r == nil {
		b.r = eof{}
	}
	return b
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, b.err
	}
	if b.length > b.limit {
		b.err = tooLarge(b.limit)
		return 0, b.err
	}
	deadline := time.Now().Add(b.pace.Idle)
	if b.until.Before(deadline) {
		deadline = b.until
	}
	// Through fasthttp's context, which takes the deadline back with the request.
	if err := b.ctx.SetReadDeadline(deadline); err != nil {
		b.err = cutShort(err)
		return 0, b.err
	}
	if b.detached.Load() { // asked only now: detach takes back what was set before
		return 0, errDetached
	}
	n, err := b.r.Read(p)
	b.read += int64(n)
	switch {
	case b.read > b.limit:
		n, b.err = 0, tooLarge(b.limit)
	case errors.Is(err, io.EOF) && b.length > b.read:
		b.err = cutShort(fmt.Errorf("%d of %d bytes: %w", b.read, b.length, io.ErrUnexpectedEOF))
	case errors.Is(err, io.EOF):
		b.err = io.EOF
	case err != nil:
		b.err = cutShort(err)
	}
	return n, b.err
}

// Close implements io.Closer.
func (b *body) Close() error { return nil }

// detach ends the reading and returns what it had ended with, if not with the
// body's end. After it nobody touches the connection's reader, which belongs to
// the next request: a net/http Transport may read on after its answer has come.
func (b *body) detach() error {
	b.detached.Store(true)
	if !b.mu.TryLock() { // a read is waiting: wake it
		_ = b.ctx.SetReadDeadline(time.Unix(1, 0))
		b.mu.Lock()
	}
	defer b.mu.Unlock()
	if errors.Is(b.err, io.EOF) {
		return nil
	}
	return b.err
}

var errDetached = errors.New("the body is no longer read")

func tooLarge(limit int64) error {
	return &fault.Error{
		Kind: fault.TooLarge, Code: "too-large", Extra: map[string]any{"max_bytes": limit},
		Detail: fmt.Sprintf("The body is larger than %d bytes.", limit),
	}
}

// cutShort is the failure of a body that did not come to its end.
func cutShort(cause error) error {
	var slow net.Error
	if errors.As(cause, &slow) && slow.Timeout() {
		return fault.Wrap(fault.Invalid, codeTimeout, "The body came too slowly.", cause)
	}
	return fault.Wrap(fault.Invalid, "body-truncated", "The body could not be read to its end.", cause)
}

// eof is an empty body.
type eof struct{}

// Read implements io.Reader.
func (eof) Read([]byte) (int, error) { return 0, io.EOF }

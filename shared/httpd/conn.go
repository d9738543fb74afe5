package httpd

import (
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"sori.internal/shared/minrate"
)

// slowest is the minimum rate at which a client must read responses and send bodies.
//
//nolint:gochecknoglobals // a constant
var slowest = minrate.Limit{BytesPerSecond: 4 << 10, Lag: 30 * time.Second}

// listener makes connections whose writes end if the client reads too slowly.
type listener struct{ net.Listener }

// Accept implements net.Listener.
func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err //nolint:wrapcheck // the server checks the error
	}
	return &conn{Conn: c, pace: slowest.Meter()}, nil
}

// conn is the connection of a client.
type conn struct {
	net.Conn

	mu     sync.Mutex // guards latest
	latest time.Time  // the write deadline of a handler, zero if it has none

	writing sync.Mutex // guards pace
	pace    minrate.Meter
}

// SetWriteDeadline implements net.Conn. A write fails at this deadline, or earlier if the client
// reads too slowly.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	c.latest = t
	c.mu.Unlock()
	return c.Conn.SetWriteDeadline(t) //nolint:wrapcheck // callers of a net.Conn check its errors
}

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetWriteDeadline(t); err != nil {
		return err
	}
	return c.SetReadDeadline(t) //nolint:wrapcheck // as above
}

// CloseWrite ends the response while the client may still send. net/http calls it before it closes
// a connection whose request was not read to its end.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite() //nolint:wrapcheck // as above
	}
	return nil
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.mu.Lock()
	latest := c.latest
	c.mu.Unlock()
	return minrate.Write(c.Conn, &c.pace, p, latest) //nolint:wrapcheck // as above
}

// requestBody is the body of a request. It remembers whether it was read to its end.
type requestBody struct {
	io.ReadCloser
	ended bool
}

// Read implements io.Reader.
func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF { //nolint:errorlint // io.Reader requires that io.EOF is not wrapped
		b.ended = true
	}
	return n, err //nolint:wrapcheck // as above
}

// pacedBody is a body that must arrive at the minimum rate.
type pacedBody struct {
	io.Reader
	control *http.ResponseController
	pace    minrate.Meter
}

// Read implements io.Reader.
func (b *pacedBody) Read(p []byte) (int, error) {
	began := time.Now()
	// In a test the writer may be a recorder without a connection: it cannot set a deadline.
	_ = b.control.SetReadDeadline(began.Add(b.pace.Remaining(0)))
	n, err := b.Reader.Read(p)
	b.pace.Add(n, time.Since(began))
	return n, err //nolint:wrapcheck // as above
}

package api

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// listener knows its open connections, so that a stop can end those that wait
// for nothing, cut the others when the grace is over, and wait for all.
type listener struct {
	net.Listener
	mu     sync.Mutex
	open   map[*conn]struct{}
	closed chan struct{} // gets a value when a connection closes, if it can
}

func newListener(inner net.Listener) *listener {
	return &listener{Listener: inner, open: map[*conn]struct{}{}, closed: make(chan struct{}, 1)}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	inner, err := l.Listener.Accept()
	if err != nil {
		return nil, err //nolint:wrapcheck // the server looks into it
	}
	c := &conn{Conn: inner, owner: l}
	l.mu.Lock()
	l.open[c] = struct{}{}
	l.mu.Unlock()
	return c, nil
}

func (l *listener) forget(c *conn) {
	l.mu.Lock()
	delete(l.open, c)
	l.mu.Unlock()
	select {
	case l.closed <- struct{}{}:
	default:
	}
}

// closeUnused ends connections on which no request has begun. The server would
// wait for them.
func (l *listener) closeUnused() {
	l.each(func(c *conn) {
		if !c.used.Load() {
			_ = c.Conn.Close()
		}
	})
}

// closeAll ends every connection, whatever goes on there.
func (l *listener) closeAll() { l.each(func(c *conn) { _ = c.Conn.Close() }) }

func (l *listener) each(f func(*conn)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		f(c)
	}
}

// drained waits until no connection is open and reports whether that came
// before the end of ctx.
func (l *listener) drained(ctx context.Context) bool {
	for {
		l.mu.Lock()
		n := len(l.open)
		l.mu.Unlock()
		if n == 0 {
			return true
		}
		select {
		case <-l.closed:
		case <-ctx.Done():
			return false
		}
	}
}

// conn is a client's connection.
type conn struct {
	net.Conn
	owner  *listener
	used   atomic.Bool
	linger atomic.Bool
	once   sync.Once
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && !c.used.Load() {
		c.used.Store(true)
	}
	return n, err //nolint:wrapcheck // a connection's errors are its protocol
}

// Write implements net.Conn. A client that takes nothing for writeTimeout has
// lost its connection: it would hold a stream for ever.
func (c *conn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err //nolint:wrapcheck // as above
	}
	return c.Conn.Write(p) //nolint:wrapcheck // as above
}

// How a connection lingers: a close with unread data resets the connection, and
// a reset may overtake the answer. The client is read from slowly, not for the
// bytes but for the time to see that it was answered.
const (
	lingerTime  = time.Second
	lingerPause = 10 * time.Millisecond
	lingerBytes = 64 << 10 // between two pauses
)

// Close implements net.Conn.
func (c *conn) Close() error {
	var err error
	c.once.Do(func() {
		defer c.owner.forget(c)
		if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && c.linger.Load() && half.CloseWrite() == nil {
			c.drain()
		}
		err = c.Conn.Close()
	})
	return err //nolint:wrapcheck // as above
}

// drain reads until the client closes or the time is over.
func (c *conn) drain() {
	until := time.Now().Add(lingerTime)
	if c.SetReadDeadline(until) != nil {
		return
	}
	pause := time.NewTicker(lingerPause)
	defer pause.Stop()
	for time.Now().Before(until) {
		if _, err := io.CopyN(io.Discard, c.Conn, lingerBytes); err != nil {
			return
		}
		<-pause.C
	}
}

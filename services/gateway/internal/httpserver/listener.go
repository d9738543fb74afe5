package httpserver

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"sori.internal/shared/minrate"
)

// listener keeps track of its open connections, so that a shutdown can close the unused ones at
// once, close those in use at the end of the grace period, and wait until all are closed.
type listener struct {
	net.Listener
	reading minrate.Limit // least rate at which clients must read answers
	mu      sync.Mutex
	open    map[*conn]struct{}
	closed  chan struct{} // receives a value, without blocking, when a connection is closed
}

func newListener(inner net.Listener, minRate int64) *listener {
	reading := minrate.Limit{BytesPerSecond: minRate, Lag: writeTimeout}
	return &listener{Listener: inner, reading: reading, open: map[*conn]struct{}{}, closed: make(chan struct{}, 1)}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	inner, err := l.Listener.Accept()
	if err != nil {
		return nil, err //nolint:wrapcheck // the server checks the error
	}
	c := &conn{Conn: inner, listener: l, pace: l.reading.Meter()}
	l.mu.Lock()
	l.open[c] = struct{}{}
	l.mu.Unlock()
	return c, nil
}

func (l *listener) remove(c *conn) {
	l.mu.Lock()
	delete(l.open, c)
	l.mu.Unlock()
	select {
	case l.closed <- struct{}{}:
	default:
	}
}

// closeUnused closes the connections on which no request has begun. Otherwise the shutdown would
// wait for them.
func (l *listener) closeUnused() {
	l.each(func(c *conn) {
		if !c.used.Load() {
			_ = c.Conn.Close()
		}
	})
}

// closeAll closes every connection, also those in use.
func (l *listener) closeAll() { l.each(func(c *conn) { _ = c.Conn.Close() }) }

func (l *listener) each(f func(*conn)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		f(c)
	}
}

// waitClosed waits until no connection is open. It returns false if ctx ends before.
func (l *listener) waitClosed(ctx context.Context) bool {
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

// conn is the connection of a client.
type conn struct {
	net.Conn
	listener *listener
	used     atomic.Bool
	ended    atomic.Bool // a read has shown that the client has closed its side
	linger   atomic.Bool
	once     sync.Once

	writing sync.Mutex // guards pace
	pace    minrate.Meter
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && !c.used.Load() {
		c.used.Store(true)
	}
	if errors.Is(err, io.EOF) {
		c.ended.Store(true)
	}
	return n, err //nolint:wrapcheck // callers of a net.Conn check its errors
}

// Write implements net.Conn. A client that reads nothing for writeTimeout, or less than the least
// rate, loses its connection. Otherwise it could keep an answer or a stream open forever.
func (c *conn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	return minrate.Write(c.Conn, &c.pace, p, time.Time{}) //nolint:wrapcheck // as above
}

// The limits of a lingering close. Closing a socket with unread data sends a TCP reset, which can
// destroy an answer that the client has not read yet. So the rest of the data is read first. It is
// read slowly, since its only purpose is to give the client time.
const (
	lingerTime  = time.Second
	lingerPause = 10 * time.Millisecond
	lingerBytes = 64 << 10 // bytes that are read between two pauses
)

// Close implements net.Conn.
func (c *conn) Close() error {
	var err error
	c.once.Do(func() {
		defer c.listener.remove(c)
		if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && c.linger.Load() && half.CloseWrite() == nil {
			c.discard()
		}
		err = c.Conn.Close()
	})
	return err //nolint:wrapcheck // as above
}

// discard reads until the client closes the connection or the time is over.
func (c *conn) discard() {
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

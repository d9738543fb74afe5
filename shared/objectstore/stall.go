package objectstore

import (
	"errors"
	"net"
	"os"
	"time"
)

// stallConn is a connection that fails if no byte is read or written for the duration stall. A slow
// connection continues as long as bytes pass.
//
// TCP has no such limit: a server that reads no more keeps the request, and its caller, as long as
// the server's machine acknowledges packets.
type stallConn struct {
	net.Conn
	stall time.Duration
}

// writeChecks is how many times within a stall a write checks for progress. The kernel wakes a
// writer only when a good part of its buffer, which may be megabytes, is free. On a slow connection
// that can take longer than a stall although bytes are sent.
const writeChecks = 8

// Write implements net.Conn.
func (c stallConn) Write(b []byte) (n int, err error) {
	for progress := time.Now(); ; {
		if err := c.SetWriteDeadline(time.Now().Add(c.stall / writeChecks)); err != nil {
			return n, err
		}
		m, err := c.Conn.Write(b[n:])
		if n += m; m > 0 {
			progress = time.Now()
			_ = c.extendReadDeadline() // fails on a closed connection, as the next write will
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if time.Since(progress) >= c.stall {
			_ = c.Close() // otherwise TLS would wait as long again to send its close_notify
			return n, err
		}
	}
}

// Read implements net.Conn. The transport waits for the response while it writes the request: every
// byte that is written extends the deadline of this read.
func (c stallConn) Read(b []byte) (int, error) {
	if err := c.extendReadDeadline(); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

// extendReadDeadline gives current and later reads a stall from now, plus the interval of the
// writer's checks.
func (c stallConn) extendReadDeadline() error {
	return c.SetReadDeadline(time.Now().Add(c.stall + c.stall/writeChecks))
}

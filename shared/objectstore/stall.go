package objectstore

import (
	"errors"
	"net"
	"os"
	"time"
)

// stallConn is a connection that fails if no byte is read or written for longer than its field
// stall. A slow connection continues as long as bytes are transferred.
//
// TCP has no such limit: a server that stops reading keeps the request and its caller waiting as
// long as the server's machine acknowledges packets.
type stallConn struct {
	net.Conn
	stall time.Duration
}

// writeChecks is the number of times that a blocked write checks for progress before it has
// stalled. The kernel wakes a writer only when a large part of its buffer, which may have
// megabytes, is free. On a slow connection that can take longer than stallConn.stall although bytes
// are sent.
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
			_ = c.extendReadDeadline() // an error means that the connection is closed: the next write fails, too
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if time.Since(progress) >= c.stall {
			_ = c.Close() // if the connection stayed open, TLS would wait as long again to send its close_notify
			return n, err
		}
	}
}

// Read implements net.Conn. The transport waits for the response while it writes the request: every
// written byte extends the deadline of this read.
func (c stallConn) Read(b []byte) (int, error) {
	if err := c.extendReadDeadline(); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

// extendReadDeadline sets the deadline of current and later reads. It is the current time plus
// c.stall, plus the interval of the checks of a write.
func (c stallConn) extendReadDeadline() error {
	return c.SetReadDeadline(time.Now().Add(c.stall + c.stall/writeChecks))
}

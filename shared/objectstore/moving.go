package objectstore

import (
	"errors"
	"net"
	"os"
	"time"
)

// moving is a connection that fails when nothing moves on it, neither way, for as
// long as stall. However slow it is, one that moves may go on.
//
// TCP knows no such limit: as long as the machine behind it answers, a server that
// takes nothing more keeps a request, and whoever made it, for ever.
type moving struct {
	net.Conn
	stall time.Duration
}

// looks is how often within a stall a write looks for room. The kernel wakes a
// writer only when a good part of its buffer, which may be megabytes, is free: on a
// slow connection that can take longer than a stall, though bytes are taken.
const looks = 8

// Write implements net.Conn.
func (c moving) Write(b []byte) (n int, err error) {
	for moved := time.Now(); ; {
		if err := c.SetWriteDeadline(time.Now().Add(c.stall / looks)); err != nil {
			return n, err
		}
		m, err := c.Conn.Write(b[n:])
		if n += m; m > 0 {
			moved = time.Now()
			_ = c.expect() // fails on a closed connection, as the next write will
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if time.Since(moved) >= c.stall {
			_ = c.Close() // else TLS would wait as long again to say goodbye
			return n, err
		}
	}
}

// Read implements net.Conn. An answer is waited for all the time that a request is
// written: what is taken of it begins the wait anew.
func (c moving) Read(b []byte) (int, error) {
	if err := c.expect(); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

// expect gives whoever reads, now or soon, a stall from now, and the time that a
// write takes to look.
func (c moving) expect() error {
	return c.SetReadDeadline(time.Now().Add(c.stall + c.stall/looks))
}

package minrate

import (
	"io"
	"time"
)

// pieceSize is how many bytes are written with one deadline.
const pieceSize = 32 << 10

// deadlineWriter is the part of a net.Conn that Write needs.
type deadlineWriter interface {
	io.Writer
	SetWriteDeadline(t time.Time) error
}

// Write writes p to a connection and measures it with m. It fails if the peer reads too slowly. If
// latest is not zero, it fails at that time at the latest. Write sets the connection's write
// deadline.
func Write(c deadlineWriter, m *Meter, p []byte, latest time.Time) (written int, err error) {
	for {
		piece := p[written:min(len(p), written+pieceSize)]
		began := time.Now()
		deadline := began.Add(m.Remaining(len(piece)))
		if !latest.IsZero() && latest.Before(deadline) {
			deadline = latest
		}
		if err := c.SetWriteDeadline(deadline); err != nil {
			return written, err //nolint:wrapcheck // callers of a net.Conn check its errors
		}
		n, err := c.Write(piece)
		m.Add(n, time.Since(began))
		written += n
		if err != nil || written == len(p) {
			return written, err //nolint:wrapcheck // as above
		}
	}
}

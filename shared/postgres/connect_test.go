package postgres

import (
	"context"
	"net"
	"os"
	"testing"

	"sori.internal/shared/fault"
	"sori.internal/shared/testkit"
)

// failingDialer makes connections on which only the given number of writes succeeds.
type failingDialer struct {
	dialer
	writes int
}

// DialContext implements pq.DialerContext.
func (d failingDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.dialer.DialContext(ctx, network, address)
	if err == nil {
		start := conn.(*startConn)
		start.Conn = &failingConn{Conn: start.Conn, writes: d.writes}
	}
	return conn, err
}

// failingConn is a connection on which only the given number of writes succeeds. The next write
// fails as if its deadline had passed.
type failingConn struct {
	net.Conn
	writes int
}

// Write implements net.Conn.
func (c *failingConn) Write(p []byte) (int, error) {
	if c.writes--; c.writes < 0 {
		return 0, &net.OpError{Op: "write", Net: "tcp", Err: os.ErrDeadlineExceeded}
	}
	return c.Conn.Write(p)
}

// A login has several writes. On a busy machine the deadline may pass before any of them; Connect
// must then return an error that means fault.Unavailable.
func TestALoginThatCannotBeSentBeforeItsDeadlineIsUnavailable(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	for writes := range 4 {
		c, err := newConnector(k.Database())
		if err != nil {
			t.Fatal(err)
		}
		c.Dialer(failingDialer{dialer: dialer{&net.Dialer{}}, writes: writes})
		made, err := c.Connect(k.Context())
		if err == nil { // the login needs no more than this number of writes
			_ = made.Close()
			if writes == 0 {
				t.Error("a login without a write succeeded")
			}
			return
		}
		if got := Translate("try", err); !fault.Is(got, fault.Unavailable) {
			t.Errorf("after %d writes: %T %v", writes, err, got)
		}
	}
	t.Error("no login succeeded")
}

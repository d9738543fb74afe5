package postgres

import (
	"context"
	"database/sql/driver"
	"fmt"
	"net"
	"time"

	"github.com/lib/pq"

	"sori.internal/shared/fault"
)

// connector makes connections that apply the deadlines of their callers.
//
// When a context ends, the driver sends the server a cancel request and then waits for the response
// without a limit. If the server hangs, or the network drops its packets, every caller would hang,
// whatever its deadline is. Therefore the deadline of a caller is also set on the connection.
type connector struct{ *pq.Connector }

func newConnector(dsn string) (connector, error) {
	c, err := pq.NewConnector(dsn)
	if err != nil {
		return connector{}, err
	}
	c.Dialer(dialer{&net.Dialer{}})
	return connector{c}, nil
}

// Connect implements driver.Connector.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	var dialed *startConn
	made, err := c.Connector.Connect(context.WithValue(ctx, dialedKey{}, &dialed))
	if err != nil {
		// The error of the driver does not wrap the error of the write, so it is replaced.
		if dialed != nil && dialed.writeErr != nil {
			err = dialed.writeErr
		}
		return nil, ofConnect(err)
	}
	inner, ok := made.(driverConn)
	if !ok {
		_ = made.Close()
		return nil, fmt.Errorf("connect: the driver's %T lacks a method", made)
	}
	return &session{driverConn: inner, net: dialed.Conn}, nil
}

// dialedKey is the key of a context value: a pointer that the dialer sets to the connection it has
// made. The driver does not expose the connection.
type dialedKey struct{}

// dialer implements pq.DialerContext, whose method DialContext the driver calls.
type dialer struct{ *net.Dialer }

// DialTimeout implements pq.Dialer. It has no parameter for a context.
func (d dialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return d.DialContext(ctx, network, address)
}

// DialContext implements pq.DialerContext.
func (d dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	made, err := d.Dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err //nolint:wrapcheck // the driver checks the error
	}
	until, _ := ctx.Deadline()
	conn := &startConn{Conn: made, until: until}
	if dialed, ok := ctx.Value(dialedKey{}).(**startConn); ok {
		*dialed = conn
	}
	return conn, nil
}

// startConn is a connection whose server must complete the start-up before the deadline of the
// caller.
type startConn struct {
	net.Conn
	until    time.Time
	writeErr error // error of the last write
}

// Write implements net.Conn.
func (g *startConn) Write(p []byte) (n int, err error) {
	n, g.writeErr = g.Conn.Write(p)
	return n, g.writeErr //nolint:wrapcheck // callers of a net.Conn check its errors
}

// SetDeadline implements net.Conn. The driver sets a deadline for the start-up that may be later
// than the caller's, and removes it afterwards.
func (g *startConn) SetDeadline(t time.Time) error {
	if !t.IsZero() && !g.until.IsZero() && g.until.Before(t) {
		t = g.until
	}
	return g.Conn.SetDeadline(t) //nolint:wrapcheck // callers of a net.Conn check its errors
}

// driverConn has the methods of the driver's connections that the pool uses.
type driverConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
	driver.NamedValueChecker
}

// session is a connection that applies the deadlines of its callers. For rows and transactions, the
// deadline is that of the call that began them. The pool closes a session that is read-only.
type session struct {
	driverConn
	net net.Conn

	readOnly bool // a statement failed since the session may not write
}

// answersWithin is how long after a deadline a server may take to respond to a cancel request.
const answersWithin = time.Second

// keepTo sets the deadline of a call on the connection, and returns the context for the driver. If
// the call has a deadline, the returned context ends at that deadline only, and not when the caller
// leaves or the service stops: then the driver would send a cancel request, and a process that
// exits during such a request makes PgBouncer 1.18 crash. The query continues at most until the
// deadline.
func (s *session) keepTo(ctx context.Context) context.Context {
	until, ok := ctx.Deadline()
	if !ok {
		_ = s.net.SetDeadline(time.Time{})
		return ctx
	}
	_ = s.net.SetDeadline(until.Add(answersWithin)) // an error means that the connection is closed: the call fails, too
	kept, release := context.WithDeadline(context.WithoutCancel(ctx), until)
	context.AfterFunc(kept, release) // released at the deadline, since rows and transactions outlive the call that began them
	return kept
}

// BeginTx implements driver.ConnBeginTx.
func (s *session) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	tx, err := s.driverConn.BeginTx(s.keepTo(ctx), opts)
	if SQLState(err) == codeUnsupported { // the driver begins transactions with READ WRITE, which a standby refuses
		s.readOnly = true
		err = fault.Unreachable("database", err)
	}
	return tx, err //nolint:wrapcheck // package sql checks the error, here and below
}

// PrepareContext implements driver.ConnPrepareContext.
func (s *session) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	return s.driverConn.PrepareContext(s.keepTo(ctx), query) //nolint:wrapcheck // as above
}

// ExecContext implements driver.ExecerContext.
func (s *session) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	result, err := s.driverConn.ExecContext(s.keepTo(ctx), query, args)
	s.check(err)
	return result, err //nolint:wrapcheck // as above
}

// QueryContext implements driver.QueryerContext.
func (s *session) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := s.driverConn.QueryContext(s.keepTo(ctx), query, args)
	s.check(err)
	return rows, err //nolint:wrapcheck // as above
}

// The SQLSTATEs of a server that only reads: read_only_sql_transaction, and feature_not_supported at the
// beginning of a transaction.
const (
	codeReadOnly    = "25006"
	codeUnsupported = "0A000"
)

// check notices that a statement failed since the session is read-only, which does not end by
// itself: after a failover the session may lead to the former primary, and a session keeps its
// value of default_transaction_read_only, which managed databases set while their disk is full.
func (s *session) check(err error) {
	s.readOnly = s.readOnly || SQLState(err) == codeReadOnly
}

// IsValid implements driver.Validator. The pool calls it when a caller returns the connection.
func (s *session) IsValid() bool { return !s.readOnly && s.driverConn.IsValid() }

// Ping implements driver.Pinger.
func (s *session) Ping(ctx context.Context) error {
	return s.driverConn.Ping(s.keepTo(ctx)) //nolint:wrapcheck // as above
}

// Close implements driver.Conn. It sets a new deadline, since that of the last caller may have
// passed.
func (s *session) Close() error {
	_ = s.net.SetDeadline(time.Now().Add(answersWithin))
	return s.driverConn.Close() //nolint:wrapcheck // as above
}

// ResetSession implements driver.SessionResetter. The pool calls it before it reuses a connection,
// so that no caller gets the deadline of an earlier caller.
func (s *session) ResetSession(ctx context.Context) error {
	return s.driverConn.ResetSession(s.keepTo(ctx)) //nolint:wrapcheck // as above
}

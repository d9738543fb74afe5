package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/lib/pq"

	"sori.internal/shared/fault"
)

// Translate wraps an error of the database with its kind and with what was tried.
func Translate(tried string, err error) error {
	if err == nil {
		return nil
	}
	wrapped := fmt.Errorf("%s: %w", tried, err)
	if _, known := errors.AsType[*fault.Error](err); known {
		return wrapped
	}
	if pqErr, ok := errors.AsType[*pq.Error](err); ok {
		return ofState(pqErr, wrapped)
	}
	var netErr net.Error
	if errors.As(err, &netErr) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, net.ErrClosed) || isEOF(err) || errors.Is(err, context.DeadlineExceeded) {
		return fault.Unreachable("database", wrapped)
	}
	return wrapped
}

// NotMigrated returns the error of a query whose tables do not exist yet. Requests may arrive
// before the migrations are applied.
func NotMigrated(tried string, cause error) error {
	return &fault.Error{
		Kind: fault.Unavailable, Code: "unavailable", RetryAfter: 2 * time.Second,
		Detail: "The database is not set up yet. Please try again.", Err: fmt.Errorf("%s: %w", tried, cause),
	}
}

// SQLState returns the SQLSTATE of an error, or "" if it has none.
func SQLState(err error) string {
	if e, ok := errors.AsType[*pq.Error](err); ok {
		return string(e.Code)
	}
	return ""
}

// codePooler is the SQLSTATE protocol_violation. PostgreSQL hardly ever sends this code. PgBouncer
// sends it with all of its own errors. Before version 1.19 PgBouncer also sends it with an error of
// the server about a login.
const codePooler = "08P01"

// codePermission is the SQLSTATE insufficient_privilege.
const codePermission = "42501"

// ofState returns an error with the kind that belongs to the class of its SQLSTATE (PostgreSQL
// manual, appendix A).
func ofState(err *pq.Error, wrapped error) error {
	code := string(err.Code)
	switch code {
	case codePooler:
		return ofPooler(err.Message, wrapped)
	case codePermission:
		return refused("the role of DATABASE_URL lacks a permission: grant it", wrapped)
	}
	switch code[:min(2, len(code))] {
	case "08", "25", "40", "53", "55", "57", "58": // classes: connection, transaction state, rollback, resources, object state, operator, system
		return fault.Unreachable("database", wrapped)
	case "22", "23", "54": // the data violate a type, a constraint or a limit
		return fault.Wrap(fault.Invalid, "data-refused", "The data cannot be stored.", wrapped)
	case "28":
		return refused(adviceLogin, wrapped)
	case "3D":
		return refused(adviceName, wrapped)
	default:
		return wrapped
	}
}

// Advice for operators.
const (
	adviceLogin     = "check the user and the password in DATABASE_URL and PGPASSWORD, and who may log in from where"
	adviceName      = "check the names of the user and the database in DATABASE_URL"
	adviceParameter = "take the parameter out of DATABASE_URL and PGOPTIONS, or have the pooler ignore it (ignore_startup_parameters)"
	adviceTLS       = "check sslmode in DATABASE_URL"
	advicePoolMode  = "the pooler allows no transactions: set its pool_mode to transaction or session"
)

// refused returns the error of a database that rejects the service, with advice for operators.
func refused(advice string, cause error) error {
	return fault.Misconfigured("database", fmt.Errorf("%w: %s", cause, advice))
}

// poolerRefusals returns parts of PgBouncer's messages for errors that no retry solves, with advice
// for operators. PgBouncer forwards some of the messages from the server. All have the same
// SQLSTATE as the errors of a server that is unavailable, is starting, or has no free connection,
// so that only the text distinguishes them. PgBouncer does not translate its messages.
func poolerRefusals() [][2]string {
	return [][2]string{
		{"unsupported startup parameter", adviceParameter},
		{"unrecognized configuration parameter", adviceParameter},
		{"invalid value for parameter", adviceParameter},
		{"authentication failed", adviceLogin},
		{"no such user", adviceLogin},
		{"no pg_hba.conf entry", adviceLogin},
		{"login rejected", adviceLogin},
		{"permission denied", adviceLogin},
		{"does not exist", adviceName}, // "does not exist" is said of the role or the database
		{"no such database", adviceName},
		{"does not allow connections", adviceName},
		{"SSL required", adviceTLS},
		{"wrong password type", "check the login that the pooler has for the server"},
		{"bouncer config error", "check the settings of the pooler"},
		{"transaction blocks not allowed", advicePoolMode},
	}
}

func ofPooler(message string, wrapped error) error {
	for _, r := range poolerRefusals() {
		if strings.Contains(message, r[0]) {
			return refused(r[1], wrapped)
		}
	}
	return &fault.Error{
		Kind: fault.Unavailable, Code: "unavailable", RetryAfter: 2 * time.Second,
		Detail: "The database does not serve requests right now. Please try again.", Err: wrapped,
	}
}

// ofConnect returns an error of the start-up with its kind. The start-up message contains
// parameters of DATABASE_URL, so an operator must correct a wrong name, value or option in it.
func ofConnect(err error) error {
	if errors.Is(err, pq.ErrSSLNotSupported) {
		return refused(adviceTLS, err)
	}
	switch code := SQLState(err); {
	case code == codePermission: // no parameter is wrong: the role may lack the permission to connect
		return err
	case code == "55P02", strings.HasPrefix(code, "22"), strings.HasPrefix(code, "42"):
		return refused(adviceParameter, err)
	default:
		return err
	}
}

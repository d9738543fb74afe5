// Package postgres opens a service's database and keeps its schema up to date.
//
// Each service has a schema of its own, which holds its tables and the table of
// its migrations, so that several may share one database and none sees another's
// rows. Errors leave with a kind, judged by their SQLSTATE and never by text.
package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"sori.internal/shared/config"
	"sori.internal/shared/fault"
)

// Config is how a service reaches its database. Password is used where URL has
// none: in a URL some characters of a password must be percent-encoded, here none.
type Config struct {
	URL            config.Secret `env:"DATABASE_URL,required"`
	Password       config.Secret `env:"PGPASSWORD"`
	MaxConnections int           `env:"DATABASE_MAX_CONNECTIONS" envDefault:"16"`
}

// Open prepares a pool of connections that see schema alone. It does not dial.
func Open(cfg Config, schema string) (*sqlx.DB, error) {
	dsn, err := dataSource(cfg, schema)
	if err != nil {
		return nil, err
	}
	connector, err := newConnector(dsn)
	if err != nil {
		return nil, errURL // the cause may quote the password
	}
	db := sqlx.NewDb(sql.OpenDB(connector), "postgres")
	db.SetMaxOpenConns(cfg.MaxConnections)
	db.SetMaxIdleConns(cfg.MaxConnections)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return db, nil
}

// errURL names the usual mistake. What the parser says is left out: it quotes the
// URL, and the password with it.
var errURL = errors.New("DATABASE_URL is not a valid connection URL:" +
	" percent-encode the special characters of its password, or set the password in PGPASSWORD instead")

// dataSource takes a URL as deployments have it, with or without a driver's
// suffix (postgresql+asyncpg://), and adds what a service needs.
func dataSource(cfg Config, schema string) (string, error) {
	raw := cfg.URL.Reveal()
	u, err := url.Parse(raw)
	if err != nil {
		return "", errURL
	}
	scheme, _, _ := strings.Cut(u.Scheme, "+")
	if scheme != "postgres" && scheme != "postgresql" {
		return "", fmt.Errorf("DATABASE_URL has the scheme %q, postgres is needed", u.Scheme)
	}
	u.Scheme = "postgres"
	q := u.Query()
	if u.User == nil && !q.Has("user") && strings.Contains(raw, "@") {
		// A # or ? of the password ended the host: user@ is in what came after it.
		return "", errURL
	}
	if _, has := u.User.Password(); !has && !q.Has("password") && cfg.Password != "" {
		q.Set("password", cfg.Password.Reveal())
	}
	if ssl := q.Get("ssl"); ssl != "" { // asyncpg's name of sslmode
		q.Del("ssl")
		q.Set("sslmode", ssl)
	}
	if q.Get("sslmode") == "" {
		q.Set("sslmode", "prefer")
	}
	if q.Get("connect_timeout") == "" {
		q.Set("connect_timeout", "5")
	}
	q.Set("search_path", schema)
	q.Set("application_name", "sori-"+schema)
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// Migrate makes the schema where it does not exist and applies the migrations
// that it has not seen, in the order of their numbers. Copies that start
// together wait for one another.
func Migrate(ctx context.Context, db *sqlx.DB, schema string, migrations fs.FS) error {
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 60))
	if err != nil {
		return fmt.Errorf("migrate %s: %w", schema, err)
	}
	// Two sessions that create one schema at once can both find it missing; the
	// lock is of the transaction and ends with it.
	err = Tx(ctx, db, func(tx *sqlx.Tx) error {
		if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock(hashtext('sori schema'))`); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `CREATE SCHEMA IF NOT EXISTS `+pq.QuoteIdentifier(schema))
		return err
	})
	if err != nil {
		return Translate("make schema "+schema, err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db.DB, migrations,
		goose.WithSessionLocker(locker), goose.WithTableName("migrations"), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("migrate %s: %w", schema, err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return Translate("migrate "+schema, err)
	}
	return nil
}

// Tx runs f in a transaction: committed where f returns nil, else rolled back.
func Tx(ctx context.Context, db *sqlx.DB, f func(*sqlx.Tx) error) error {
	tx, err := db.BeginTxx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	// Once committed this does nothing. A panic, which somebody above may survive,
	// passes here too; the first failure is the one to tell.
	defer func() { _ = tx.Rollback() }()
	if err := f(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// Ping asks the database for an answer, for readiness.
func Ping(db *sqlx.DB) func(context.Context) error {
	return func(ctx context.Context) error { return Translate("ping database", db.PingContext(ctx)) }
}

// Translate gives a database error its kind, with what was tried.
func Translate(tried string, err error) error {
	if err == nil {
		return nil
	}
	if _, known := errors.AsType[*fault.Error](err); known {
		return fmt.Errorf("%s: %w", tried, err)
	}
	wrapped := fmt.Errorf("%s: %w", tried, err)
	if pqErr, ok := errors.AsType[*pq.Error](err); ok {
		return ofState(string(pqErr.Code), wrapped)
	}
	var netErr net.Error
	if errors.As(err, &netErr) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, net.ErrClosed) || isEOF(err) || errors.Is(err, context.DeadlineExceeded) {
		return fault.Away("database", wrapped)
	}
	return wrapped
}

// ofState judges a SQLSTATE (PostgreSQL manual, appendix A) by its class.
func ofState(state string, wrapped error) error {
	switch state[:min(2, len(state))] {
	case "08", "25", "40", "53", "55", "57", "58": // connection, transaction, rollback, resources, locks, operator, system
		return fault.Away("database", wrapped)
	case "22", "23", "54": // a value, a constraint or a limit of the program refuses the data
		return fault.Wrap(fault.Invalid, "data-refused", "The data cannot be stored.", wrapped)
	case "28", "3D": // the login or the database is not there yet, or wrong: an operator can mend it
		return fault.Away("database", wrapped)
	default:
		return wrapped
	}
}

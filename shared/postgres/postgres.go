// Package postgres opens the database of a service and applies its migrations.
//
// Each service has a schema of its own, with its tables and the table of its migrations: several
// services can share one database, and none sees the rows of another. SQL names the schema of every
// table. Errors get a kind by their SQLSTATE, or by the text of PgBouncer, which uses one SQLSTATE
// for all errors.
//
// A pooler may assign every transaction to another connection to the server (PgBouncer with
// pool_mode=transaction). Therefore:
//
//  1. the state of a session is not used: no search_path, no session lock, no prepared statement
//     that lives longer than its transaction, no LISTEN;
//  2. a query outside a transaction is sent with its values in one message (binary_parameters),
//     since the statement may be executed on another connection than the one that parsed it;
//  3. the start-up message has only parameters that poolers accept.
package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"sori.internal/shared/config"
)

// Config describes how a service connects to its database. User is used if URL has no user, and
// Password if URL has no password: in URL some characters of a password must be percent-encoded, in
// Password none. Without Migrate the service does not apply its migrations (Prepare).
type Config struct {
	URL            config.Secret `env:"DATABASE_URL,required"`
	User           string        `env:"PGUSER"`
	Migrate        bool          `env:"DATABASE_MIGRATE" envDefault:"true"`
	Password       config.Secret `env:"PGPASSWORD"`
	MaxConnections int           `env:"DATABASE_MAX_CONNECTIONS" envDefault:"16"`
}

// Open makes a pool of connections for the service that owns schema. It does not dial.
func Open(cfg Config, schema string) (*sqlx.DB, error) {
	dsn, err := dataSource(cfg, schema)
	if err != nil {
		return nil, err
	}
	connector, err := newConnector(dsn)
	if err != nil {
		return nil, errURL // the cause is left out: it may contain the password
	}
	db := sqlx.NewDb(sql.OpenDB(connector), "postgres")
	db.SetMaxOpenConns(cfg.MaxConnections)
	db.SetMaxIdleConns(cfg.MaxConnections)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return db, nil
}

// errURL describes the most frequent mistake. The parser's error is left out: it quotes the URL
// with its password.
var errURL = errors.New("DATABASE_URL is not a valid connection URL:" +
	" percent-encode the special characters of its password, or set the password in PGPASSWORD instead")

// dataSource parses a URL, with or without the suffix of a driver (postgresql+asyncpg://), which
// deployments may have, and adds the parameters that a service needs.
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
		// An @ without a user: a # or ? in the password has ended the host part of the URL.
		return "", errURL
	}
	if u.User == nil && !q.Has("user") && cfg.User != "" {
		u.User = url.User(cfg.User)
	}
	if _, has := u.User.Password(); !has && !q.Has("password") && cfg.Password != "" {
		q.Set("password", cfg.Password.Reveal())
	}
	if ssl := q.Get("ssl"); ssl != "" { // asyncpg has the name ssl for sslmode
		q.Del("ssl")
		q.Set("sslmode", ssl)
	}
	if q.Get("sslmode") == "" {
		q.Set("sslmode", "prefer")
	}
	if q.Get("connect_timeout") == "" {
		q.Set("connect_timeout", "5")
	}
	q.Del("search_path") // no query needs search_path, and poolers reject the parameter
	q.Set("binary_parameters", "yes")
	q.Set("application_name", "sori-"+schema)
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// Tx calls f in a transaction. It commits if f returns nil, otherwise it rolls back.
func Tx(ctx context.Context, db *sqlx.DB, f func(*sqlx.Tx) error) error {
	tx, err := db.BeginTxx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	// After a commit Rollback does nothing. It also runs after a panic, which a caller may recover.
	// Its own error is ignored, since the first error is returned.
	defer func() { _ = tx.Rollback() }()
	if err := f(tx); err != nil {
		return interrupted(ctx, err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", interrupted(ctx, err))
	}
	return nil
}

// interrupted returns an error of a transaction. Package sql rolls a transaction back when its context
// ends, and its next statement fails with ErrTxDone, which does not contain the cause.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, sql.ErrTxDone) {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return err
}

// Ping returns a readiness check: the database must respond.
func Ping(db *sqlx.DB) func(context.Context) error {
	return func(ctx context.Context) error { return Translate("ping database", db.PingContext(ctx)) }
}

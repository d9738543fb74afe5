// Package postgres opens the database of a service and applies its migrations.
//
// Each service has a schema of its own, which holds its tables and the table of its migrations:
// several services can share one database, and none sees the rows of another. SQL names the schema
// of every table. Errors get a kind by their SQLSTATE, and by PgBouncer's texts where it has one
// SQLSTATE for all.
//
// A pooler may give every transaction another connection to the server (PgBouncer with
// pool_mode=transaction). Therefore:
//
//  1. nothing of a session is relied on: no search_path, no session lock, no prepared statement
//     that lives longer than its transaction, no LISTEN;
//  2. a query outside a transaction is sent with its values in one message (binary_parameters),
//     since the connection that parsed it may not be the one that is asked to run it;
//  3. the start-up message holds only parameters that poolers know.
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

// Config is how a service reaches its database. Password is used where URL has
// none: in a URL some characters of a password must be percent-encoded, here none.
type Config struct {
	URL            config.Secret `env:"DATABASE_URL,required"`
	Password       config.Secret `env:"PGPASSWORD"`
	MaxConnections int           `env:"DATABASE_MAX_CONNECTIONS" envDefault:"16"`
}

// Open prepares a pool of connections for the service that owns schema. It does not
// dial.
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
	q.Del("search_path") // nothing needs it, and poolers refuse it
	q.Set("binary_parameters", "yes")
	q.Set("application_name", "sori-"+schema)
	u.RawQuery = q.Encode()
	return u.String(), nil
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

package testkit

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Database gives the test a database of its own, which is empty, sets DATABASE_URL in its settings
// and returns the URL. If there is a pooler, the settings lead through it and the returned URL does
// not.
func (k *Kit) Database() string {
	k.t.Helper()
	if k.database != "" {
		return k.database
	}
	admin := need(k.t, EnvDatabase)
	name, err := databases.take(k.Context(), admin)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), waitLimit) // that of the test has ended
		defer cancel()
		if err := databases.giveBack(ctx, admin, name); err != nil {
			k.t.Error(err)
		}
	})
	k.database = withDatabase(admin, name)
	k.vars["DATABASE_URL"] = k.database
	if pooler := os.Getenv(EnvPooler); pooler != "" {
		u, err := url.Parse(k.database)
		if err != nil {
			k.t.Fatal(err)
		}
		u.Host = pooler
		k.vars["DATABASE_URL"] = u.String()
	}
	return k.database
}

// withDatabase is a URL of Postgres with another database.
func withDatabase(admin, name string) string {
	u, err := url.Parse(admin)
	if err != nil {
		return admin // opening it fails, and says why
	}
	u.Path = "/" + name
	return u.String()
}

// databases are those of the tests of this process. A database that a test has used is emptied for
// the next test, which costs a small part of making one. Processes end without a last word: what
// they leave is dropped by a later one.
var databases databasePool //nolint:gochecknoglobals // it lives as long as the process, as its databases do

type databasePool struct {
	mu     sync.Mutex
	free   []string
	reaped bool
}

// The name of a database tells when it was made: a process that needs it has ended after maxAge.
const (
	databasePrefix = "sori_test_"
	maxAge         = 6 * time.Hour
)

// take gives out an empty database.
func (p *databasePool) take(ctx context.Context, admin string) (string, error) {
	if name, ok := p.pop(); ok {
		return name, nil
	}
	var random [6]byte
	_, _ = rand.Read(random[:])
	name := databasePrefix + strconv.FormatInt(time.Now().Unix(), 36) + "_" + hex.EncodeToString(random[:])
	db, err := sqlx.Open("postgres", admin)
	if err != nil {
		return "", fmt.Errorf("open Postgres: %w", err)
	}
	defer db.Close()
	if err := p.reap(ctx, db); err != nil {
		return "", err
	}
	// FILE_COPY takes half the time of the default, which writes the template's pages to the
	// write-ahead log.
	if _, err := db.ExecContext(ctx, `CREATE DATABASE `+pq.QuoteIdentifier(name)+` STRATEGY FILE_COPY`); err != nil {
		return "", fmt.Errorf("make the test's database: %w", err)
	}
	return name, nil
}

func (p *databasePool) pop() (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) == 0 {
		return "", false
	}
	last := len(p.free) - 1
	name := p.free[last]
	p.free = p.free[:last]
	return name, true
}

// giveBack ends all connections of a database and empties it.
func (p *databasePool) giveBack(ctx context.Context, admin, name string) error {
	const disconnect = `
		SELECT pg_terminate_backend(pid)
		FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid()`
	const empty = `
		DO $$
		DECLARE name text;
		BEGIN
			FOR name IN
				SELECT nspname FROM pg_namespace
				WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
			LOOP
				EXECUTE format('DROP SCHEMA %I CASCADE', name);
			END LOOP;
			CREATE SCHEMA public AUTHORIZATION pg_database_owner;
		END $$`
	db, err := sqlx.Open("postgres", withDatabase(admin, name))
	if err != nil {
		return fmt.Errorf("open the test's database: %w", err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, statement := range []string{disconnect, empty} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("empty the test's database: %w", err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, name)
	return nil
}

// reap drops the databases of processes that ended long ago, once.
func (p *databasePool) reap(ctx context.Context, db *sqlx.DB) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return nil
	}
	p.reaped = true
	var names []string
	if err := db.SelectContext(ctx, &names, `SELECT datname FROM pg_database WHERE starts_with(datname, $1)`, databasePrefix); err != nil {
		return fmt.Errorf("list the databases of former tests: %w", err)
	}
	for _, name := range names {
		if !expired(name, time.Now()) {
			continue
		}
		if _, err := db.ExecContext(ctx, `DROP DATABASE IF EXISTS `+pq.QuoteIdentifier(name)+` WITH (FORCE)`); err != nil {
			return fmt.Errorf("drop the database of a former test: %w", err)
		}
	}
	return nil
}

// expired reports whether a database was made so long ago that no test uses it.
func expired(name string, now time.Time) bool {
	made, _, _ := strings.Cut(strings.TrimPrefix(name, databasePrefix), "_")
	seconds, err := strconv.ParseInt(made, 36, 64)
	return err == nil && now.Sub(time.Unix(seconds, 0)) > maxAge
}

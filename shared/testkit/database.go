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

// Database creates an empty database for the test, sets DATABASE_URL in the settings and returns
// its URL. If there is a pooler, the URL in the settings goes through it, but the returned URL does
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
		ctx, cancel := context.WithTimeout(context.Background(), waitLimit) // the test's own context has ended
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

// withDatabase returns a URL of Postgres with the name of another database.
func withDatabase(admin, name string) string {
	u, err := url.Parse(admin)
	if err != nil {
		return admin // sqlx.Open reports the error
	}
	u.Path = "/" + name
	return u.String()
}

// databases are the databases of the tests of this process. After a test its database is emptied
// for the next test, which is much faster than creating one. A process cannot drop its databases
// when it ends: a later process does.
var databases databasePool //nolint:gochecknoglobals // it lives as long as the process, like the databases

type databasePool struct {
	mu     sync.Mutex
	free   []string
	reaped bool
}

// The name of a database contains the time at which it was created: a process that uses the
// database has ended after maxAge.
const (
	databasePrefix = "sori_test_"
	maxAge         = 6 * time.Hour
)

// take returns the name of an empty database.
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

// giveBack ends all connections to a database, empties the database and makes it free for the next
// test.
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

// reap drops the databases of processes that ended long ago. It does so once per process.
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

// expired reports whether a database is so old that no test uses it.
func expired(name string, now time.Time) bool {
	made, _, _ := strings.Cut(strings.TrimPrefix(name, databasePrefix), "_")
	seconds, err := strconv.ParseInt(made, 36, 64)
	return err == nil && now.Sub(time.Unix(seconds, 0)) > maxAge
}

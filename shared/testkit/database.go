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
// not. A second call returns the same database.
func (k *Kit) Database() string {
	k.t.Helper()
	return k.useDatabase(&emptyDatabases)
}

// MigratedDatabase is like Database, but the database may be that of an earlier test of this
// process: its tables are empty, and the migrations of that test are already applied, which saves
// most of the time of a test. The test must not change a schema except by the migrations.
func (k *Kit) MigratedDatabase() string {
	k.t.Helper()
	return k.useDatabase(&migratedDatabases)
}

func (k *Kit) useDatabase(from *databasePool) string {
	k.t.Helper()
	if k.database != "" {
		return k.database
	}
	admin := need(k.t, EnvDatabase)
	db, err := from.take(k.Context(), admin)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), waitLimit) // the test's own context has ended
		defer cancel()
		if err := from.giveBack(ctx, db); err != nil {
			k.t.Error(err)
		}
	})
	k.database = withDatabase(admin, db.name)
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
		return admin // sqlx.Open will report the malformed URL
	}
	u.Path = "/" + name
	return u.String()
}

// The databases that the tests of this process use. After a test its database is emptied for the
// next test, which is much faster than creating one. A process cannot drop its databases when it
// ends: a later process drops them.
//
//nolint:gochecknoglobals // they live as long as the process, like the databases
var (
	emptyDatabases    = databasePool{empty: dropSchemas}
	migratedDatabases = databasePool{empty: deleteRows}
	reap              sync.Once
)

type databasePool struct {
	empty string // the statement that empties a database

	mu   sync.Mutex
	free []testDatabase
}

// testDatabase is a database with the one connection that empties it after each test. A new
// connection would have to read the catalog of tables first.
type testDatabase struct {
	name string
	conn *sqlx.DB
}

const (
	disconnect = `
		SELECT pg_terminate_backend(pid, 10000)
		FROM pg_stat_get_activity(NULL)
		WHERE datid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND pid <> pg_backend_pid()`
	dropSchemas = `
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
	// DELETE is faster than TRUNCATE for few rows. The role replica disables triggers and foreign
	// keys.
	deleteRows = `
		SET session_replication_role = replica;
		DO $$
		DECLARE name text; size bigint;
		BEGIN
			FOR name, size IN
				SELECT oid::regclass, pg_relation_size(oid) FROM pg_class
				WHERE relkind = 'r' AND relname <> 'migrations'
					AND relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema')
			LOOP
				IF size > 1000000 THEN
					EXECUTE format('TRUNCATE %s CASCADE', name);
				ELSIF size > 0 THEN
					EXECUTE format('DELETE FROM %s', name);
				END IF;
			END LOOP;
			PERFORM setval(oid::regclass, seqstart, false) FROM pg_class JOIN pg_sequence ON seqrelid = oid
			WHERE relname <> 'migrations_id_seq';
		END $$`
)

// The name of a database contains the time at which it was created. No process runs for longer than
// maxAge, so an older database is not used any more.
const (
	databasePrefix = "sori_test_"
	maxAge         = 6 * time.Hour
)

// take returns a database that no test uses.
func (p *databasePool) take(ctx context.Context, admin string) (testDatabase, error) {
	if db, ok := p.pop(); ok {
		return db, nil
	}
	var random [6]byte
	_, _ = rand.Read(random[:])
	name := databasePrefix + strconv.FormatInt(time.Now().Unix(), 36) + "_" + hex.EncodeToString(random[:])
	db, err := sqlx.Open("postgres", admin)
	if err != nil {
		return testDatabase{}, fmt.Errorf("open Postgres: %w", err)
	}
	defer db.Close()
	reap.Do(func() { err = dropFormer(ctx, db) })
	if err != nil {
		return testDatabase{}, err
	}
	// FILE_COPY takes half the time of the default, which writes the template's pages to the
	// write-ahead log.
	if _, err := db.ExecContext(ctx, `CREATE DATABASE `+pq.QuoteIdentifier(name)+` STRATEGY FILE_COPY`); err != nil {
		return testDatabase{}, fmt.Errorf("make the test's database: %w", err)
	}
	conn, err := sqlx.Open("postgres", withDatabase(admin, name))
	if err != nil {
		return testDatabase{}, fmt.Errorf("open the test's database: %w", err)
	}
	conn.SetMaxOpenConns(1)
	return testDatabase{name: name, conn: conn}, nil
}

func (p *databasePool) pop() (testDatabase, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) == 0 {
		return testDatabase{}, false
	}
	last := len(p.free) - 1
	db := p.free[last]
	p.free = p.free[:last]
	return db, true
}

// giveBack ends all connections to a database, empties the database and makes it free for the next
// test.
func (p *databasePool) giveBack(ctx context.Context, db testDatabase) error {
	for _, statement := range []string{disconnect, p.empty} {
		if _, err := db.conn.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("empty the test's database: %w", err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, db)
	return nil
}

// dropFormer drops the databases of processes that ended long ago.
func dropFormer(ctx context.Context, db *sqlx.DB) error {
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

package postgres_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"sori.internal/shared/config"
	"sori.internal/shared/fault"
	"sori.internal/shared/postgres"
	"sori.internal/shared/testkit"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, dsn, schema string) *sqlx.DB {
	t.Helper()
	db, err := postgres.Open(postgres.Config{URL: config.Secret(dsn), MaxConnections: 4}, schema)
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func migrations(steps ...string) fstest.MapFS {
	files := fstest.MapFS{}
	for i, step := range steps {
		files[fmt.Sprintf("%05d_step.sql", i+1)] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + step + "\n")}
	}
	return files
}

const notes = `CREATE TABLE s.notes (id int PRIMARY KEY, text text NOT NULL CHECK (length(text) < 100));`

func count(t *testing.T, db *sqlx.DB, query string) (n int) {
	t.Helper()
	must(t, db.GetContext(t.Context(), &n, query))
	return n
}

func TestServicesThatShareADatabaseDoNotSeeEachOther(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	dsn := k.Database()
	for i, schema := range []string{"gateway", "tracker"} {
		db := open(t, dsn, schema)
		must(t, postgres.Migrate(k.Context(), db, schema, migrations(strings.ReplaceAll(notes, "s.notes", schema+".notes"))))
		if n := count(t, db, `SELECT count(*) FROM `+schema+`.notes`); n != 0 {
			t.Errorf("%s sees %d rows of another", schema, n)
		}
		_, err := db.ExecContext(k.Context(), `INSERT INTO `+schema+`.notes (id, text) VALUES ($1, $2)`, i, schema)
		must(t, err)
	}
	db := open(t, dsn, "gateway")
	if n := count(t, db, `SELECT count(*) FROM information_schema.tables WHERE table_schema IN ('gateway', 'tracker') AND table_name IN ('notes', 'migrations')`); n != 4 {
		t.Errorf("%d tables", n)
	}
	if n := count(t, db, `SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'`); n != 0 {
		t.Errorf("%d tables in public", n)
	}
}

func TestMigrationsAreAppliedOnceAndOnlyNewOnesLater(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	db := open(t, k.Database(), "s")
	for range 2 {
		must(t, postgres.Migrate(k.Context(), db, "s", migrations(notes)))
	}
	_, err := db.ExecContext(k.Context(), `INSERT INTO s.notes (id, text) VALUES (1, 'kept')`)
	must(t, err)
	must(t, postgres.Migrate(k.Context(), db, "s", migrations(notes, `ALTER TABLE s.notes ADD COLUMN more int NOT NULL DEFAULT 7;`)))
	if n := count(t, db, `SELECT count(*) FROM s.notes WHERE more = 7 AND text = 'kept'`); n != 1 {
		t.Errorf("%d rows", n)
	}
}

func TestCopiesThatStartTogetherMigrateOnce(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	dsn := k.Database()
	var wg sync.WaitGroup
	for range 4 {
		db := open(t, dsn, "s")
		wg.Go(func() {
			if err := postgres.Migrate(k.Context(), db, "s", migrations(notes, `INSERT INTO s.notes (id, text) VALUES (1, 'once');`)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := count(t, open(t, dsn, "s"), `SELECT count(*) FROM s.notes`); n != 1 {
		t.Errorf("%d rows", n)
	}
}

func TestAMigrationThatFailsLeavesNothingOfItself(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	db := open(t, k.Database(), "s")
	if err := postgres.Migrate(k.Context(), db, "s", migrations(notes, `CREATE TABLE s.half (id int); SELECT 1/0;`)); err == nil {
		t.Fatal("it passed")
	}
	if n := count(t, db, `SELECT count(*) FROM information_schema.tables WHERE table_schema = 's' AND table_name = 'half'`); n != 0 {
		t.Error("half a migration stayed")
	}
	must(t, postgres.Migrate(k.Context(), db, "s", migrations(notes, `CREATE TABLE s.half (id int);`)))
}

// A service that is stopped while it migrates does not end with an error, at whatever step it is
// stopped.
func TestAStopDuringAMigrationIsNoFailure(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	db := open(t, k.Database(), "s")
	steps := migrations(append([]string{notes}, slices.Repeat([]string{"SELECT 1;"}, 20)...)...)
	for after := range 40 {
		ctx, cancel := context.WithCancel(k.Context())
		timer := time.AfterFunc(time.Duration(after)*time.Millisecond, cancel)
		err := postgres.Migrate(ctx, db, "s", steps)
		if err != nil && !fault.Stopped(ctx, err) && !fault.Is(err, fault.Unavailable) { // after fault.Unavailable a service waits, and notices the stop
			t.Errorf("after %d ms: %v", after, err)
		}
		timer.Stop()
		cancel()
		_, err = db.ExecContext(k.Context(), "DROP SCHEMA IF EXISTS s CASCADE")
		must(t, err)
	}
}

func TestATransactionIsCommittedOnlyWhereItsFunctionSucceeds(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	db := open(t, k.Database(), "s")
	db.SetMaxOpenConns(1) // one connection: a transaction that is not ended blocks the next one
	must(t, postgres.Migrate(k.Context(), open(t, k.Database(), "s"), "s", migrations(notes)))
	insert := func(id int, then func() error) (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v", p)
			}
		}()
		return postgres.Tx(k.Context(), db, func(tx *sqlx.Tx) error {
			if _, err := tx.ExecContext(k.Context(), `INSERT INTO s.notes (id, text) VALUES ($1, '')`, id); err != nil {
				return err
			}
			return then()
		})
	}
	refused := errors.New("refused")
	must(t, insert(1, func() error { return nil }))
	if err := insert(2, func() error { return refused }); !errors.Is(err, refused) {
		t.Error(err)
	}
	if err := insert(3, func() error { panic("a defect") }); err == nil {
		t.Error("no panic")
	}
	must(t, insert(4, func() error { return nil }))
	var ids []int
	must(t, db.SelectContext(k.Context(), &ids, `SELECT id FROM s.notes ORDER BY id`))
	if !slices.Equal(ids, []int{1, 4}) {
		t.Errorf("ids %v", ids)
	}
}

func TestTheDatabasesOwnErrorsHaveTheirKind(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	db := open(t, k.Database(), "s")
	must(t, postgres.Migrate(k.Context(), db, "s", migrations(notes, `INSERT INTO s.notes (id, text) VALUES (1, '');`)))
	for query, want := range map[string]fault.Kind{
		`INSERT INTO s.notes (id, text) VALUES (1, '')`:               fault.Invalid,
		`INSERT INTO s.notes (id, text) VALUES (2, NULL)`:             fault.Invalid,
		`INSERT INTO s.notes (id, text) VALUES (3, repeat('x', 200))`: fault.Invalid,
		`SELECT '\u0000'::jsonb, '{"a":"\u0000"}'::jsonb`:             fault.Invalid,
		`SELECT 'x'::int`: fault.Invalid,
		`SELECT nothing`:  fault.Internal,
		`SELECT pg_terminate_backend(pg_backend_pid())`:                   fault.Unavailable,
		`SELECT set_config('statement_timeout', '1', false), pg_sleep(5)`: fault.Unavailable,
	} {
		conn, err := db.Connx(k.Context())
		must(t, err)
		if strings.Contains(query, "statement_timeout") {
			_, err = conn.ExecContext(k.Context(), `SET statement_timeout = 50`)
			must(t, err)
		}
		_, err = conn.ExecContext(k.Context(), query)
		if err = postgres.Translate("ask", err); !fault.Is(err, want) {
			t.Errorf("%s: %s %v", query, fault.KindOf(err), err)
		}
		_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // closes the connection, whose settings were changed
		_ = conn.Close()
	}
}

func TestAURLIsTakenAsDeploymentsHaveItAndNeverShown(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	plain := k.Database()
	_, rest, _ := strings.Cut(plain, "://")
	for _, dsn := range []string{"postgresql://" + rest, "postgresql+asyncpg://" + rest, "postgres+psycopg2://" + rest} {
		must(t, postgres.Ping(open(t, dsn, "s"))(k.Context()))
	}
	u, err := url.Parse("postgresql+asyncpg://" + rest)
	must(t, err)
	q := u.Query()
	q.Del("sslmode")
	q.Set("ssl", "disable")
	u.RawQuery = q.Encode()
	must(t, postgres.Ping(open(t, u.String(), "s"))(k.Context()))
	for _, bad := range []string{
		"postgres://user:hunter2#x@h/d", "postgres://user:2?hunter2@h/d", "postgres://user:2/hunter2@h/d", "postgres://user:hunter2 x@h/d",
		"mysql://user:hunter2@h/d", "postgres://user:hunter2@h:port/d", "postgres://user:hunter2/3@h/d", "postgres://user:hunter2@h/d?sslmode=perhaps", "",
	} {
		_, err := postgres.Open(postgres.Config{URL: config.Secret(bad)}, "s")
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestAPasswordMayHaveEveryCharacter(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	admin := open(t, k.Database(), "s")
	u, err := url.Parse(k.Database())
	must(t, err)
	role := strings.TrimPrefix(u.Path, "/") + "_login"
	exec := func(statement string) {
		t.Helper()
		_, err := admin.ExecContext(context.WithoutCancel(k.Context()), statement)
		must(t, err)
	}
	exec(`CREATE ROLE ` + pq.QuoteIdentifier(role) + ` LOGIN`)
	t.Cleanup(func() { exec(`DROP ROLE ` + pq.QuoteIdentifier(role)) })
	passwords := []string{"plain", `/@+:#%?& '"\\$=;,<>[]{}|~` + "`^!*()", "12#3", "12?3", "12/3", "%41", "비밀"}
	for _, password := range passwords {
		exec(`ALTER ROLE ` + pq.QuoteIdentifier(role) + ` PASSWORD ` + pq.QuoteLiteral(password))
		without, with := *u, *u
		without.User, with.User = url.User(role), url.UserPassword(role, password)
		for name, c := range map[string]struct {
			cfg   postgres.Config
			works bool
		}{
			"apart":                 {postgres.Config{URL: config.Secret(without.String()), Password: config.Secret(password)}, true},
			"with a driver":         {postgres.Config{URL: config.Secret(strings.Replace(without.String(), "://", "+asyncpg://", 1)), Password: config.Secret(password)}, true},
			"encoded, and wins":     {postgres.Config{URL: config.Secret(with.String()), Password: "another"}, true},
			"another one":           {postgres.Config{URL: config.Secret(without.String()), Password: "another"}, false},
			"another one, and wins": {postgres.Config{URL: config.Secret(strings.Replace(without.String(), "@", ":another@", 1)), Password: config.Secret(password)}, false},
		} {
			db, err := postgres.Open(c.cfg, "s")
			must(t, err)
			if err := db.PingContext(k.Context()); (err == nil) != c.works {
				t.Errorf("%q %s: %v", password, name, err)
			}
			_ = db.Close()
		}
	}
}

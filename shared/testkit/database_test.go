package testkit

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
)

func TestADatabaseIsEmptyAgainWhateverATestDidInIt(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	admin := need(t, EnvDatabase)
	pool := databasePool{empty: dropSchemas}
	db := takeForTest(ctx, t, &pool)
	used, err := sqlx.Open("postgres", withDatabase(admin, db.name))
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	conn, err := used.Connx(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(ctx, `
		CREATE SCHEMA "odd ""name";
		CREATE TABLE "odd ""name".rows (id bigserial PRIMARY KEY);
		CREATE TABLE public.goose (id int);
		CREATE FUNCTION public.one() RETURNS int LANGUAGE sql AS 'SELECT 1';
		BEGIN; LOCK TABLE public.goose`); err != nil {
		t.Fatal(err)
	}
	returnForTest(ctx, t, &pool, db)
	if err := conn.PingContext(ctx); err == nil {
		t.Error("a connection of the test before still works")
	}
	var left []string
	fresh, err := sqlx.Open("postgres", withDatabase(admin, db.name))
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	if err := fresh.SelectContext(ctx, &left, `
		SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'public')
		UNION ALL SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
		UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace`); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if _, err := fresh.ExecContext(ctx, `CREATE TABLE public.goose (id int)`); err != nil {
		t.Errorf("the schema public is not as it was: %v", err)
	}
}

func TestAMigratedDatabaseHasItsTablesWithoutRows(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	pool := databasePool{empty: deleteRows}
	db := takeForTest(ctx, t, &pool)
	used, err := sqlx.Open("postgres", withDatabase(need(t, EnvDatabase), db.name))
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	if _, err := used.ExecContext(ctx, `
		CREATE SCHEMA "odd ""name";
		CREATE TABLE "odd ""name".migrations (id bigint GENERATED ALWAYS AS IDENTITY, version int);
		CREATE TABLE "odd ""name".parents (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, data text);
		CREATE TABLE "odd ""name".children (parent bigint NOT NULL REFERENCES "odd ""name".parents (id));
		INSERT INTO "odd ""name".migrations (version) VALUES (1)`); err != nil {
		t.Fatal(err)
	}
	for _, rows := range []int{3, 20_000} { // few rows are removed with DELETE, and 20 000 with TRUNCATE
		if _, err := used.ExecContext(ctx, `
			INSERT INTO "odd ""name".parents (data) SELECT repeat('x', 60) FROM generate_series(1, $1::int)`, rows); err != nil {
			t.Fatal(err)
		}
		if _, err := used.ExecContext(ctx, `INSERT INTO "odd ""name".children SELECT id FROM "odd ""name".parents`); err != nil {
			t.Fatal(err)
		}
		// This transaction is still open when the test gives its database back.
		late, err := used.BeginTxx(ctx, nil)
		if err == nil {
			_, err = late.ExecContext(ctx, `INSERT INTO "odd ""name".parents (data) VALUES ('late')`)
		}
		if err != nil {
			t.Fatal(err)
		}
		returnForTest(ctx, t, &pool, db)
		if err := late.Commit(); err == nil {
			t.Error("a transaction of the test before was committed")
		}
		var left struct{ Migrations, Parents, Children, Next int }
		if err := db.conn.GetContext(ctx, &left, `
			SELECT (SELECT count(*) FROM "odd ""name".migrations) AS migrations, (SELECT count(*) FROM "odd ""name".parents) AS parents,
				(SELECT count(*) FROM "odd ""name".children) AS children, nextval('"odd ""name".parents_id_seq') AS next`); err != nil {
			t.Fatal(err)
		}
		if left.Migrations != 1 || left.Parents != 0 || left.Children != 0 || left.Next != 1 {
			t.Errorf("after %d rows: %+v", rows, left)
		}
	}
}

// takeForTest takes a new database from a pool, which the test drops at its end.
func takeForTest(ctx context.Context, t *testing.T, pool *databasePool) testDatabase {
	t.Helper()
	admin := need(t, EnvDatabase)
	db, err := pool.take(ctx, admin)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = db.conn.Close()
		dropForTest(t, admin, db.name)
	})
	return db
}

// returnForTest gives a database back to a pool and takes it again, emptied.
func returnForTest(ctx context.Context, t *testing.T, pool *databasePool, db testDatabase) {
	t.Helper()
	if err := pool.giveBack(ctx, db); err != nil {
		t.Fatal(err)
	}
	if again, err := pool.take(ctx, need(t, EnvDatabase)); err != nil || again != db {
		t.Fatalf("%v instead of %v, %v", again, db, err)
	}
}

func dropForTest(t *testing.T, admin, name string) {
	t.Helper()
	db, err := sqlx.Open("postgres", admin)
	if err != nil {
		t.Error(err)
		return
	}
	defer db.Close()
	if _, err := db.ExecContext(context.Background(), `DROP DATABASE "`+name+`" WITH (FORCE)`); err != nil {
		t.Error(err)
	}
}

// The test that used the database has left it in an unknown state.
func TestADatabaseThatCannotBeEmptiedIsNotUsedAgain(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	admin := need(t, EnvDatabase)
	pool := databasePool{empty: dropSchemas}
	db, err := pool.take(ctx, admin)
	if err != nil {
		t.Fatal(err)
	}
	defer db.conn.Close()
	dropForTest(t, admin, db.name)
	if err := pool.giveBack(ctx, db); err == nil || len(pool.free) > 0 {
		t.Errorf("given back: %v; %d databases are free", err, len(pool.free))
	}
}

func TestTheDatabasesOfFormerTestsAreDropped(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	db, err := sqlx.Open("postgres", need(t, EnvDatabase))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	made := func(ago time.Duration) string {
		var random [6]byte
		_, _ = rand.Read(random[:])
		name := databasePrefix + strconv.FormatInt(time.Now().Add(-ago).Unix(), 36) + "_" + hex.EncodeToString(random[:])
		if _, err := db.ExecContext(ctx, `CREATE DATABASE "`+name+`" STRATEGY FILE_COPY`); err != nil {
			t.Fatal(err)
		}
		return name
	}
	former, used := made(maxAge+time.Hour), made(time.Hour)
	defer dropForTest(t, need(t, EnvDatabase), used)
	if err := dropFormer(ctx, db); err != nil {
		t.Fatal(err)
	}
	var left []string
	if err := db.SelectContext(ctx, &left, `SELECT datname FROM pg_database WHERE datname IN ($1, $2)`, former, used); err != nil || !slices.Equal(left, []string{used}) {
		t.Errorf("left: %v, %v; want %s", left, err, used)
	}
}

// A service that is tested with a pooler must connect to the pooler, and the test itself to the database.
func TestTheSettingsGoThroughThePooler(t *testing.T) { //nolint:paralleltest // it sets a variable of the whole process
	const pooler = "pooler.example:6432"
	t.Setenv(EnvPooler, pooler)
	k := New(t)
	direct, err := url.Parse(k.Database())
	if err != nil {
		t.Fatal(err)
	}
	through, err := url.Parse(k.Settings(nil)["DATABASE_URL"])
	if err != nil {
		t.Fatal(err)
	}
	if through.Host != pooler || through.Path != direct.Path || through.User.String() != direct.User.String() {
		t.Errorf("the settings have %s instead of %s", through, direct)
	}
	if own, err := url.Parse(need(t, EnvDatabase)); err != nil || direct.Host != own.Host {
		t.Errorf("the test has %s, %v", direct, err)
	}
}

func TestOnlyDatabasesOfFormerTestsAreDropped(t *testing.T) {
	t.Parallel()
	now := time.Now()
	made := func(ago time.Duration) string {
		return databasePrefix + strconv.FormatInt(now.Add(-ago).Unix(), 36) + "_x"
	}
	for name, want := range map[string]bool{
		made(0): false, made(5 * time.Hour): false, made(7 * time.Hour): true, made(24 * time.Hour): true,
		"sori_test_": false, "sori_test_?_x": false, "postgres": false,
	} {
		if got := expired(name, now); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

package testkit

import (
	"context"
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
	var pool databasePool
	name, err := pool.take(ctx, admin)
	if err != nil {
		t.Fatal(err)
	}
	used, err := sqlx.Open("postgres", withDatabase(admin, name))
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
	if err := pool.giveBack(ctx, admin, name); err != nil {
		t.Fatal(err)
	}
	if err := conn.PingContext(ctx); err == nil {
		t.Error("a connection of the test before still works")
	}
	again, err := pool.take(ctx, admin)
	if err != nil || again != name {
		t.Fatalf("%s instead of %s, %v", again, name, err)
	}
	t.Cleanup(func() { dropForTest(t, admin, name) })
	var left []string
	fresh, err := sqlx.Open("postgres", withDatabase(admin, name))
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

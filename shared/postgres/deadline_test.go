package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"sori.internal/shared/fault"
	"sori.internal/shared/postgres"
	"sori.internal/shared/testkit"
)

// hangs is the longest time that a caller may wait for a server that does not respond. It is much
// longer than the deadline of the caller, so that a slow machine does not fail the test.
const hangs = 8 * time.Second

func TestADeadlineEndsWhatAServerThatStandsStillNeverAnswers(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	proxy := k.Proxy(k.Database())
	for name, call := range map[string]func(context.Context, *sqlx.DB) error{
		"query": func(ctx context.Context, db *sqlx.DB) error {
			var n int
			return db.GetContext(ctx, &n, `SELECT 1 WHERE $1`, true)
		},
		"ping": func(ctx context.Context, db *sqlx.DB) error { return db.PingContext(ctx) },
		"transaction": func(ctx context.Context, db *sqlx.DB) error {
			return postgres.Tx(ctx, db, func(tx *sqlx.Tx) error {
				_, err := tx.ExecContext(ctx, `SELECT 1`)
				return err
			})
		},
	} {
		db := open(t, proxy.URL, "s")
		for _, connected := range []bool{false, true} { // the server hangs before the start-up is complete, or after it
			if connected {
				must(t, db.PingContext(k.Context()))
			}
			proxy.Hold(0)
			began := time.Now()
			ctx, cancel := context.WithTimeout(k.Context(), 300*time.Millisecond)
			err := postgres.Translate("try", call(ctx, db))
			cancel()
			if took := time.Since(began); took > hangs || !fault.Is(err, fault.Unavailable) {
				t.Errorf("%s, connected before: %v: %v after %v", name, connected, err, took)
			}
			proxy.Restore()
			must(t, call(k.Context(), db))
		}
	}
}

func TestATransactionThatIsHeldAtItsEndDoesNotHang(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	proxy := k.Proxy(k.Database())
	db := open(t, proxy.URL, "s")
	ctx, cancel := context.WithTimeout(k.Context(), 500*time.Millisecond)
	defer cancel()
	began := time.Now()
	err := postgres.Tx(ctx, db, func(tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx, `SELECT 1`)
		proxy.Hold(0)
		return err
	})
	if took := time.Since(began); took > hangs || err == nil {
		t.Errorf("%v after %v", err, took)
	}
	proxy.Restore()
	must(t, db.PingContext(k.Context()))
}

func TestAServerThatLivesSaysThatItHasCanceled(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	db := open(t, k.Database(), "s")
	ctx, cancel := context.WithTimeout(k.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := db.ExecContext(ctx, `SELECT pg_sleep(20)`)
	if err = postgres.Translate("sleep", err); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
	other := open(t, k.Database(), "s")
	testkit.Eventually(t, func() error {
		const query = `
			SELECT count(*)
			FROM pg_stat_activity
			WHERE state = 'active'
			  AND query = 'SELECT pg_sleep(20)'
			  AND datname = current_database()`
		var n int
		err := other.GetContext(k.Context(), &n, query)
		if err == nil && n > 0 {
			err = errors.New("the query still runs")
		}
		return err
	})
}

func TestADeadlineIsTheCallersAndNotTheConnections(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	db := open(t, k.Database(), "s")
	db.SetMaxOpenConns(1)
	short, cancel := context.WithTimeout(k.Context(), 3*time.Second)
	must(t, db.PingContext(short))
	cancel()
	_, err := db.ExecContext(k.Context(), `SELECT pg_sleep(4)`) // takes longer than the deadline of the previous call, which must not apply to this one
	must(t, err)
	short, cancel = context.WithTimeout(k.Context(), time.Second)
	must(t, db.PingContext(short))
	cancel()
	<-time.After(3 * time.Second / 2) // the deadline of the previous call has passed: Close must set its own deadline
	must(t, db.Close())
}

func TestACallerThatLeavesAsksForNoCancel(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	r := record(t, k.Database())
	db := open(t, r.url, "s")
	must(t, db.PingContext(k.Context()))
	ctx, cancel := context.WithTimeout(k.Context(), time.Minute)
	time.AfterFunc(300*time.Millisecond, cancel)
	began := time.Now()
	_, err := db.ExecContext(ctx, `SELECT pg_sleep(1.5)`)
	if took := time.Since(began); err != nil || took < 3*time.Second/2 {
		t.Errorf("%v after %v", err, took)
	}
	if n := r.connections(); n != 1 {
		t.Errorf("%d connections were made", n)
	}
}

package store_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"sori.internal/services/tracker/internal/command"
	"sori.internal/services/tracker/internal/job"
	"sori.internal/services/tracker/internal/query"
	"sori.internal/services/tracker/internal/store"
	"sori.internal/shared/fault"
)

// faulty is a database driver in which the connection breaks at one operation.
type faulty struct {
	driver.Connector

	at   int  // number of the operation, from 0; -1 if none fails
	lost bool // the operation is performed, and only its response is lost
	done int  // number of operations so far
}

func (f *faulty) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := f.Connector.Connect(ctx)
	return faultyConn{c, f}, err
}

// perform performs an operation, unless it is the one that fails.
func perform[T any](f *faulty, do func() (T, error), discard func(T)) (T, error) {
	fails := f.done == f.at
	if f.done++; !fails {
		return do()
	}
	if f.lost {
		if done, err := do(); err == nil {
			discard(done)
		}
	}
	var none T
	return none, io.ErrUnexpectedEOF
}

type faultyConn struct {
	driver.Conn
	f *faulty
}

func (c faultyConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return perform(c.f, func() (driver.Rows, error) {
		return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
	}, func(rows driver.Rows) { _ = rows.Close() })
}

func (c faultyConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return perform(c.f, func() (driver.Result, error) {
		return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
	}, func(driver.Result) {})
}

func (c faultyConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	tx, err := perform(c.f, func() (driver.Tx, error) {
		return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
	}, func(tx driver.Tx) { _ = tx.Rollback() })
	return faultyTx{tx, c.f}, err
}

type faultyTx struct {
	driver.Tx
	f *faulty
}

func (t faultyTx) Commit() error {
	_, err := perform(t.f, func() (struct{}, error) { return struct{}{}, t.Tx.Commit() }, func(struct{}) {})
	if t.f.lost || err == nil {
		return err
	}
	_ = t.Rollback() // the server ends the transaction of a connection that breaks
	return err
}

// The connection breaks once, before or after each operation of merging. The batch is merged again,
// as after a redelivery, and every record must be the same as if nothing had failed.
func TestABatchThatIsMergedAgainAfterAnyFaultIsMergedOnce(t *testing.T) {
	t.Parallel()
	kit, _ := open(t)
	connector, err := pq.NewConnector(kit.MigratedDatabase() + "&binary_parameters=yes")
	if err != nil {
		t.Fatal(err)
	}
	merge := func(f *faulty) {
		f.Connector = connector
		db := sqlx.NewDb(sql.OpenDB(f), "postgres")
		defer db.Close()
		a, b := newJob(t), newJob(t)
		want := map[string]job.Record{a: job.New(a), b: job.New(b)}
		s := store.New(db)
		for _, batch := range batches(history(a, 1), history(b, 100)) {
			_, err := s.Merge(kit.Context(), grouped(batch))
			if err != nil {
				if !fault.Is(err, fault.Unavailable) {
					t.Errorf("operation %d, response lost: %t: %v", f.at, f.lost, err)
				}
				_, err = s.Merge(kit.Context(), grouped(batch))
			}
			if err != nil {
				t.Fatalf("operation %d, response lost: %t: merged again: %v", f.at, f.lost, err)
			}
			for id, entries := range grouped(batch) {
				record := want[id]
				record.Merge(entries)
				want[id] = record
			}
		}
		for id, w := range want {
			got, found, err := s.Find(kit.Context(), id)
			if err != nil || !found || got != w.Snapshot {
				t.Errorf("operation %d, response lost: %t: %v\n got %+v\nwant %+v", f.at, f.lost, err, got, w.Snapshot)
			}
		}
	}
	none := &faulty{at: -1}
	merge(none)
	for at := range none.done - 2 { // the last two read the records
		merge(&faulty{at: at})
		merge(&faulty{at: at, lost: true})
	}
}

// batches divides the events of two jobs into batches, so that Store.Merge does each of its kinds of
// work: it inserts a row, it updates a row that this process was the last to write, and it locks rows.
func batches(a, b []job.Entry) [][]job.Entry {
	return [][]job.Entry{
		{a[0]}, {a[1]}, {a[2], b[1]}, {b[0]}, {a[3], a[4], b[2]}, a[5:8], b[3:8], append(a[8:10:10], b[8:]...), a[10:], b[10:],
	}
}

// Tools or another program may have written a value that this one cannot read.
func TestARowThatCannotBeReadIsAnErrorAndNotAnotherRecord(t *testing.T) {
	t.Parallel()
	kit, stores := open(t)
	id := newJob(t)
	if _, err := stores[0].Merge(kit.Context(), grouped(history(id, 1))); err != nil {
		t.Fatal(err)
	}
	db, err := sqlx.Open("postgres", kit.MigratedDatabase())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(kit.Context(), `UPDATE tracker.analysis_results SET updated_at = 'infinity'`); err != nil {
		t.Fatal(err)
	}
	if got, found, err := stores[0].Find(kit.Context(), id); err == nil || found {
		t.Errorf("%+v, %t, %v", got, found, err)
	}
	if got, err := stores[0].List(kit.Context(), query.Filter{Statuses: []job.Status{job.Completed}}, 10); err == nil {
		t.Errorf("%+v", got)
	}
}

// A caller that treated an interrupted query as an empty answer would delete or hide jobs.
func TestAQueryThatIsInterruptedIsAnErrorAndNotAnEmptyAnswer(t *testing.T) {
	t.Parallel()
	kit, stores := open(t)
	ctx, cancel := context.WithCancel(kit.Context())
	cancel()
	s, id := stores[0], newJob(t)
	for name, do := range map[string]func() (any, error){
		"Find":           func() (any, error) { _, found, err := s.Find(ctx, id); return found, err },
		"ResultSize":     func() (any, error) { return s.ResultSize(ctx, id) },
		"Recording":      func() (any, error) { return s.Recording(ctx, id) },
		"List":           func() (any, error) { return s.List(ctx, query.Filter{}, 10) },
		"Ended":          func() (any, error) { return s.Ended(ctx, time.Now(), command.Ended{}, 10) },
		"EndedWithAudio": func() (any, error) { return s.EndedWithAudio(ctx, time.Now(), command.Ended{}, 10) },
		"Overdue":        func() (any, error) { return s.Overdue(ctx, command.Deadlines{}, time.Now(), command.Overdue{}, 10) },
		"Deleted":        func() (any, error) { return s.Deleted(ctx, []int64{7}) },
		"JobsOf":         func() (any, error) { return s.JobsOf(ctx, 7, 10) },
		"Usage":          func() (any, error) { return s.Usage(ctx, "alice", time.Now(), nil) },
		"Delete":         func() (any, error) { return nil, s.Delete(ctx, 7, time.Now()) },
		"Merge":          func() (any, error) { return s.Merge(ctx, grouped(history(id, 1))) },
	} {
		if got, err := do(); err == nil || fault.Is(err, fault.NotFound) || fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, %v", name, fmt.Sprint(got), err)
		}
	}
}

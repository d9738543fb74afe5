package postgres_test

import (
	"context"
	"database/sql"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"sori.internal/shared/postgres"
)

// places makes the places of a pool of the given number of connections, which are never opened.
func places(t *testing.T, connections int) *postgres.Places {
	t.Helper()
	connector, err := pq.NewConnector("")
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	t.Cleanup(func() { _ = db.Close() })
	db.SetMaxOpenConns(connections)
	return postgres.NewPlaces(sqlx.NewDb(db, "postgres"))
}

// inTurn holds a place n times, each time for the given time, and returns how long all took.
func inTurn(t *testing.T, p *postgres.Places, owner string, n int, query time.Duration) time.Duration {
	t.Helper()
	began := time.Now()
	for range n {
		release, err := p.Acquire(t.Context(), owner)
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(query)
		release()
	}
	return time.Since(began)
}

func TestTheQueriesOfAnOwnerUseAQuarterOfTheTimeOfItsPlace(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		owner string
		query time.Duration
		want  time.Duration // between the starts of two queries
	}{
		"short queries":       {owner: "alice", query: 10 * time.Millisecond, want: 40 * time.Millisecond},
		"long queries":        {owner: "alice", query: time.Second, want: 1250 * time.Millisecond},
		"no authentication":   {query: 10 * time.Millisecond, want: 10 * time.Millisecond},
		"instantaneous query": {owner: "alice"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := places(t, 8) // 4 places, one of them for one owner
				if took := inTurn(t, p, c.owner, 11, c.query); took != 10*c.want+c.query {
					t.Errorf("11 queries take %v, want %v", took, 10*c.want+c.query)
				}
			})
		})
	}
}

func TestThePauseOfAnOwnerDelaysNobodyElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := places(t, 2) // one place for all owners
		inTurn(t, p, "alice", 1, time.Second)
		if took := inTurn(t, p, "bob", 1, 10*time.Millisecond); took != 10*time.Millisecond {
			t.Errorf("a query of another owner takes %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, err := p.Acquire(ctx, "alice"); err == nil {
			t.Error("an owner gets a place in its pause")
		}
		synctest.Wait()
		if took := inTurn(t, p, "alice", 1, 0); took > 250*time.Millisecond {
			t.Errorf("an owner whose request was given up waits for %v", took)
		}
	})
}

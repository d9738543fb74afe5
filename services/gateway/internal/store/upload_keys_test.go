package store_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"sori.internal/services/gateway/internal/store"
	"sori.internal/services/gateway/internal/upload"
	"sori.internal/shared/testkit"
	"sori.internal/shared/testkit/testdb"
)

// env is a new database with two stores, for two replicas.
type env struct {
	*testkit.Kit
	t      *testing.T
	db     *sqlx.DB
	stores [2]*store.Store
}

func newEnv(t *testing.T) *env {
	t.Helper()
	return newEnvOf(t, testkit.New(t))
}

func newEnvOf(t *testing.T, kit *testkit.Kit) *env {
	t.Helper()
	c := &env{Kit: kit, t: t}
	for i := range c.stores {
		db := testdb.Open(c.Kit, store.Schema)
		c.db, c.stores[i] = db, store.New(db)
		must(t, c.stores[i].Migrate(c.Context()))
	}
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (c *env) exec(query string, args ...any) {
	c.t.Helper()
	_, err := c.db.ExecContext(c.Context(), query, args...)
	must(c.t, err)
}

func (c *env) rows() (n int) {
	c.t.Helper()
	must(c.t, c.db.GetContext(c.Context(), &n, `SELECT count(*) FROM catalogue.upload_keys`))
	return n
}

// wanted returns the claim that a new upload requests.
func (c *env) wanted(key string, token int64) upload.Claim {
	c.t.Helper()
	return upload.Claim{Key: sha256.Sum256([]byte(key)), Token: token, Job: c.NewJob(), Holder: c.NewJob()}
}

// claim claims a key in one of the stores.
func (c *env) claim(i int, w upload.Claim) upload.Claim {
	c.t.Helper()
	got, err := c.stores[i].Claim(c.Context(), w, time.Hour, 24*time.Hour)
	must(c.t, err)
	return got
}

const sum = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

func TestOneOfManyConcurrentClaimsWins(t *testing.T) {
	t.Parallel()
	c := newEnv(t)
	for round := range 20 {
		var wg sync.WaitGroup
		var got, want [8]upload.Claim
		for i := range want {
			want[i] = c.wanted(fmt.Sprint(round), 1)
			wg.Go(func() { got[i], _ = c.stores[i%2].Claim(c.Context(), want[i], time.Hour, time.Hour) })
		}
		wg.Wait()
		winners := 0
		for i := range want {
			if got[i] == want[i] {
				winners++
			} else if got[i].SHA256 != "" || got[i].Holder == want[i].Holder || got[i].Token != 1 {
				t.Errorf("a loser got %+v", got[i])
			}
		}
		if winners != 1 {
			t.Fatalf("%d claims won", winners)
		}
	}
}

func TestAClaimIsTakenOverOnlyAfterItsLease(t *testing.T) {
	t.Parallel()
	c := newEnv(t)
	dead, next := c.wanted("k", 1), c.wanted("k", 1)
	c.claim(0, dead)
	if got := c.claim(1, next); got != dead {
		t.Errorf("while the lease lasts: %+v", got)
	}
	must(t, c.stores[0].Renew(c.Context(), dead, 0))
	if got := c.claim(1, c.wanted("k", 2)); got != dead {
		t.Errorf("for another token: %+v", got)
	}
	want := next
	want.Job = dead.Job
	if got := c.claim(1, next); got != want {
		t.Errorf("taken over: %+v", got)
	}
	// The previous holder cannot change the claim any more.
	must(t, c.stores[0].Renew(c.Context(), dead, 0))
	must(t, c.stores[0].Free(c.Context(), dead))
	dead.SHA256 = strings.Repeat("0", 64)
	must(t, c.stores[0].Finish(c.Context(), dead, 0))
	if got := c.claim(0, c.wanted("k", 1)); got != want {
		t.Errorf("after the previous holder wrote: %+v", got)
	}
}

func TestAFinishedClaimStaysUntilItExpires(t *testing.T) {
	t.Parallel()
	c := newEnv(t)
	first := c.wanted("k", 1)
	c.claim(0, first)
	first.SHA256 = sum
	must(t, c.stores[0].Finish(c.Context(), first, time.Hour))
	must(t, c.stores[0].Free(c.Context(), first))
	for _, token := range []int64{1, 2} {
		if got := c.claim(1, c.wanted("k", token)); got != first {
			t.Errorf("token %d: %+v", token, got)
		}
	}
	c.exec(`UPDATE catalogue.upload_keys SET expires_at = now(), created_at = now() - interval '1 day'`)
	next := c.wanted("k", 2)
	if got := c.claim(1, next); got != next {
		t.Errorf("expired: %+v", got)
	}
	var renewed bool
	must(t, c.db.GetContext(c.Context(), &renewed, `SELECT sha256 IS NULL AND expires_at > now() AND created_at > now() - interval '1 hour' FROM catalogue.upload_keys`))
	if !renewed {
		t.Error("something of the old claim is left")
	}
}

func TestAFreedKeyCanBeClaimedAgain(t *testing.T) {
	t.Parallel()
	c := newEnv(t)
	first, next := c.wanted("k", 1), c.wanted("k", 2)
	c.claim(0, first)
	must(t, c.stores[1].Free(c.Context(), first))
	if got := c.claim(1, next); got != next {
		t.Errorf("%+v", got)
	}
}

func TestTheSweepDeletesExpiredKeysThatNobodyHolds(t *testing.T) {
	t.Parallel()
	c := newEnv(t)
	c.claim(0, c.wanted("new", 1))
	live := c.wanted("expired under an upload", 1)
	c.claim(0, live)
	c.exec(`UPDATE catalogue.upload_keys SET expires_at = now() WHERE job_id = $1`, live.Job)
	c.exec(`INSERT INTO catalogue.upload_keys (key_hash, token_id, job_id, holder, lease_until, expires_at)
		SELECT sha256(n::text::bytea), 1, gen_random_uuid(), gen_random_uuid(), now(), now() FROM generate_series(1, 2500) AS n`)
	var wg sync.WaitGroup
	var deleted [2]int64
	for i, s := range c.stores {
		wg.Go(func() {
			var err error
			if deleted[i], err = s.DeleteExpiredKeys(c.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if c.rows() != 2 || deleted[0]+deleted[1] != 2500 {
		t.Errorf("%d are left, %v were deleted", c.rows(), deleted)
	}
}

func TestAClaimBeforeTheMigrationSaysUnavailable(t *testing.T) {
	t.Parallel()
	kit := testkit.New(t)
	kit.Database() // gives the test a database of its own, since other tests need the table
	c := newEnvOf(t, kit)
	c.exec(`DROP TABLE catalogue.upload_keys`)
	_, err := c.stores[0].Claim(c.Context(), c.wanted("k", 1), time.Hour, time.Hour)
	if err == nil || !strings.Contains(err.Error(), "unavailable") {
		t.Errorf("%v", err)
	}
}

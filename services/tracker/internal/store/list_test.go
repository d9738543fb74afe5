package store_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/services/tracker/internal/query"
	"sori.internal/services/tracker/internal/store"
)

// planner is a database driver that runs EXPLAIN with the same parameters before each query.
type planner struct {
	driver.Connector
	explain string

	mu   sync.Mutex
	plan string // plan of the last query
}

func (p *planner) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := p.Connector.Connect(ctx)
	return plannedConn{c, p}, err
}

type plannedConn struct {
	driver.Conn
	planner *planner
}

func (c plannedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if err := c.planned(ctx, query, args); err != nil {
		return nil, err
	}
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

func (c plannedConn) planned(ctx context.Context, query string, args []driver.NamedValue) error {
	rows, err := c.Conn.(driver.QueryerContext).QueryContext(ctx, c.planner.explain+query, args)
	if err != nil {
		return fmt.Errorf("explain: %w", err)
	}
	var lines []string
	for line := make([]driver.Value, 1); err == nil; {
		if err = rows.Next(line); err == nil {
			lines = append(lines, fmt.Sprintf("%s", line[0]))
		}
	}
	c.planner.mu.Lock()
	defer c.planner.mu.Unlock()
	c.planner.plan = strings.Join(lines, "\n")
	if errors.Is(err, io.EOF) {
		err = rows.Close()
	}
	return err
}

// planned inserts a number of jobs into a new database, and returns a store whose queries are
// explained.
func planned(t testing.TB, explain string, jobs int) (context.Context, *store.Store, *planner) {
	t.Helper()
	kit, _ := open(t)
	db, err := sqlx.Open("postgres", kit.MigratedDatabase())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	const fill = `
		INSERT INTO tracker.analysis_results
		    (job_id, owner, token_id, status, stage, progress, version, error_code, error_detail, error_retryable, created_at, updated_at)
		SELECT gen_random_uuid(), CASE WHEN i % 10 = 0 THEN '' WHEN i % 1000 = 501 THEN 'few' ELSE 'many' END, 1 + i / 3 % 10, s, CASE s WHEN 'processing' THEN 'received' ELSE s END, CASE s WHEN 'completed' THEN 100 ELSE 10 END, 1,
		       CASE s WHEN 'failed' THEN 'c' END, CASE s WHEN 'failed' THEN 'd' END, CASE s WHEN 'failed' THEN true END, at, at
		FROM generate_series(0, $1 - 1) AS i,
		     LATERAL (SELECT (ARRAY ['processing', 'completed', 'failed', 'canceled'])[1 + (i / 10) % 4], $2::timestamptz + i * interval '1s') AS made (s, at)`
	if _, err := db.ExecContext(kit.Context(), fill, jobs, start()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(kit.Context(), `VACUUM ANALYZE tracker.analysis_results`); err != nil {
		t.Fatal(err)
	}
	connector, err := pq.NewConnector(kit.MigratedDatabase() + "&binary_parameters=yes")
	if err != nil {
		t.Fatal(err)
	}
	p := &planner{Connector: connector, explain: explain}
	pool := sqlx.NewDb(sql.OpenDB(p), "postgres")
	t.Cleanup(func() { _ = pool.Close() })
	return kit.Context(), store.New(pool), p
}

func start() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// The owners of the jobs: many owns nine of ten jobs, few owns one of a thousand, and the rest of
// the jobs have no owner.
const (
	many = "many"
	few  = "few"
)

// filters returns filters by the name of the test case, for a database with a number of jobs.
func filters(jobs int) map[string]query.Filter {
	at := func(tenths int) time.Time { return start().Add(time.Duration(tenths*jobs/10) * time.Second) }
	deep := query.Cursor{CreatedAt: at(3), JobID: "80000000-0000-4000-8000-000000000000"}
	span := query.Filter{From: at(1), Before: at(8)}
	found := map[string]query.Filter{"all": {}, "deep in": {After: deep}, "a span": span}
	for name, statuses := range map[string][]job.Status{"failed": {job.Failed}, "ended": {job.Completed, job.Failed, job.Canceled}} {
		found[name] = query.Filter{Statuses: statuses}
		found[name+", of a token"] = query.Filter{Statuses: statuses, TokenID: 7}
		found[name+", of a token, in a span, deep in"] = query.Filter{Statuses: statuses, TokenID: 7, From: span.From, Before: span.Before, After: deep}
	}
	for _, owner := range []string{many, few} {
		found["of "+owner] = query.Filter{Owner: owner}
		found["of "+owner+", deep in"] = query.Filter{Owner: owner, After: deep}
		found["of "+owner+", in a span, failed"] = query.Filter{Owner: owner, From: span.From, Before: span.Before, Statuses: []job.Status{job.Failed}}
		found["of "+owner+" and a token"] = query.Filter{Owner: owner, TokenID: 7}
		found["of "+owner+" and a token, deep in, failed"] = query.Filter{Owner: owner, TokenID: 7, After: deep, Statuses: []job.Status{job.Failed}}
	}
	found["of nobody"] = query.Filter{Owner: "nobody"}
	found["of a token"] = query.Filter{TokenID: 7}
	found["of a token, deep in"] = query.Filter{TokenID: 7, After: deep}
	for name, f := range found {
		if f.Statuses == nil {
			f.Statuses = job.Statuses()
			found[name] = f
		}
	}
	return found
}

// node is a node of the query plan that EXPLAIN returns as JSON.
type node struct {
	Type     string `json:"Node Type"`
	Relation string `json:"Relation Name"`
	Index    string `json:"Index Name"`
	Filter   string `json:"Filter"`
	Plans    []node `json:"Plans"`
}

// tables returns a text for each node that reads a table, with the type of its parent node.
func (n node) tables(above string) (found []string) {
	if n.Relation != "" {
		found = append(found, fmt.Sprintf("%s < %s on %s %s", above, n.Type, n.Index, n.Filter))
	}
	for _, below := range n.Plans {
		found = append(found, below.tables(n.Type)...)
	}
	return found
}

// The plan of each page must be a single index scan under a limit: no table scan, no filter on the
// rows, and no sort below the limit.
func TestAPageIsReadFromOneIndexRange(t *testing.T) {
	t.Parallel()
	const jobs = 20_000
	ctx, rows, p := planned(t, "EXPLAIN (FORMAT JSON) ", jobs)
	for name, f := range filters(jobs) {
		found, err := rows.List(ctx, f, 51)
		if err != nil || f.Owner != few && f.Owner != "nobody" && len(found) != 51 {
			t.Fatalf("%s: %d jobs, %v", name, len(found), err)
		}
		for _, j := range found {
			if f.Owner != "" && j.Owner != f.Owner || f.TokenID != 0 && j.TokenID != f.TokenID {
				t.Errorf("%s: a job of %q and token %d", name, j.Owner, j.TokenID)
			}
		}
		var plans []struct{ Plan node }
		if err := json.Unmarshal([]byte(p.plan), &plans); err != nil {
			t.Fatal(err)
		}
		want := "Limit < Index Scan on analysis_results_newest "
		switch {
		case f.Owner != "" && f.TokenID != 0:
			want = "Limit < Index Scan on analysis_results_owner_token "
		case f.Owner != "":
			want = "Limit < Index Scan on analysis_results_owner "
		case f.TokenID != 0:
			want = "Limit < Index Scan on analysis_results_token "
		}
		got := plans[0].Plan.tables("")
		if f.Owner == few && f.TokenID != 0 && len(got) == 1 { // Postgres may read all jobs of this owner and filter by token
			got[0], _, _ = strings.Cut(got[0], "(token_id = '7'::bigint)")
			got[0] = strings.Replace(got[0], "_owner ", "_owner_token ", 1)
		}
		if len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q\n%s", name, got, p.plan)
		}
	}
}

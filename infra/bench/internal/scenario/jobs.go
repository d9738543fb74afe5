package scenario

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"time"

	"sori.internal/infra/internal/client"
)

// The constants of the scenario jobs: pages is the number of requests, growth is the factor by which the number of jobs grows
// for the second measurement, and slack is the factor by which a page may take longer then.
const (
	pages  = 2000
	growth = 1000
	slack  = 2
)

// jobs measures requests for pages of the list of jobs, first with few jobs and then with many. It inserts the jobs into the
// database, since only the reading is measured.
func jobs(ctx context.Context, b *Bench) (err error) {
	size := b.Size.or(Size{Jobs: 1_000_000, Concurrent: 1})
	db, restore, err := b.Target.Records(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, restore()) }()
	var taken [2]*Samples
	counts := [2]int{max(size.Jobs/growth, 1), size.Jobs}
	for i, made := range []int{0, counts[0]} {
		b.Say("jobs: pages of %d jobs, %d at a time", counts[i], size.Concurrent)
		if err := record(ctx, db, made, counts[i]); err != nil {
			return err
		}
		if taken[i], err = b.lists(ctx, counts[i], size.Concurrent, min(pages, 20*size.Jobs)); err != nil {
			return err
		}
	}
	bounds := [2]Bound{{}, atMost(slack * taken[0].Percentile(99))}
	for i, n := range counts {
		b.add(milliseconds("jobs", fmt.Sprintf("page of %d jobs p50", n), taken[i].Percentile(50), Bound{}))
		b.add(milliseconds("jobs", fmt.Sprintf("page of %d jobs p99", n), taken[i].Percentile(99), bounds[i]))
	}
	return nil
}

// firstJob returns the creation time of the first job. Each further job was created one second later.
func firstJob() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// tokens is the number of tokens to which the jobs belong.
const tokens = 10

// record inserts jobs into the database. Their numbers begin with the parameter from and end before the parameter to. Most are
// completed. None has a deadline, so that the tracker does not change them. Then record runs VACUUM ANALYZE, as autovacuum
// would do later.
func record(ctx context.Context, db *sql.DB, from, to int) error {
	const insert = `
		INSERT INTO tracker.analysis_results (
		    job_id, token_id, status, stage, progress, result, error_code, error_detail, error_retryable, version, attempt,
		    s3_bucket, s3_key, file_name, media_type, size, duration, created_at, updated_at
		)
		SELECT gen_random_uuid(), 1 + i % $3, s, CASE s WHEN 'processing' THEN 'dispatched' ELSE s END,
		       CASE s WHEN 'completed' THEN 100 ELSE 90 END, CASE s WHEN 'completed' THEN '{"duration":3.2,"score":0.5}'::json END,
		       CASE s WHEN 'failed' THEN 'analysis-failed' END, CASE s WHEN 'failed' THEN 'no speech' END, CASE s WHEN 'failed' THEN true END,
		       7, 1, 'sori', 'audio/' || i, i || '.wav', 'audio/wav', 100000, 3.2, at, at + interval '5s'
		FROM generate_series($1::int, $2 - 1) AS i,
		     LATERAL (
		         SELECT CASE WHEN i / $3 % 10 = 0 THEN 'failed' WHEN i / $3 % 10 = 1 THEN 'canceled' WHEN i / $3 % 20 = 12 THEN 'processing' ELSE 'completed' END,
		                $4::timestamptz + i * interval '1s'
		     ) AS made (s, at)`
	if _, err := db.ExecContext(ctx, insert, from, to, tokens, firstJob()); err != nil {
		return fmt.Errorf("make jobs: %w", err)
	}
	if _, err := db.ExecContext(ctx, `VACUUM ANALYZE tracker.analysis_results`); err != nil {
		return fmt.Errorf("make jobs: %w", err)
	}
	return nil
}

// questions returns the queries for pages of a list with the given number of jobs: different filters, from the beginning of the
// list and from cursors at different depths.
func questions(ctx context.Context, api *client.Client, count int) ([]url.Values, error) {
	at := func(part float64) string {
		return firstJob().Add(time.Duration(part * float64(count) * float64(time.Second))).Format(time.RFC3339)
	}
	filters := []url.Values{
		{}, {"limit": {"200"}}, {"status": {"failed"}}, {"status": {"failed,canceled", "processing"}}, {"token_id": {"7"}},
		{"token_id": {"7"}, "status": {"completed"}}, {"created_after": {at(0.2)}, "created_before": {at(0.9)}},
		{"created_before": {at(0.9)}, "status": {"completed"}, "token_id": {"3"}, "limit": {"20"}},
	}
	const depths = 16
	var all []url.Values
	for depth := range depths {
		page, err := api.Jobs(ctx, url.Values{"limit": {"1"}, "created_before": {at(1 - float64(depth)/(depths+1))}})
		if err != nil {
			return nil, err
		}
		for _, filter := range filters {
			question := url.Values{"cursor": {page.Next}}
			if depth%2 == 0 {
				question = url.Values{}
			}
			for name, value := range filter {
				question[name] = value
			}
			all = append(all, question)
		}
	}
	return all, nil
}

// lists requests the given number of pages and returns how long each request took. Before, it sends each query once, to open
// connections.
func (b *Bench) lists(ctx context.Context, count, concurrent, pages int) (*Samples, error) {
	api := b.Target.Client(concurrent)
	defer api.Close()
	all, err := questions(ctx, api, count)
	if err != nil {
		return nil, err
	}
	ask := func(ctx context.Context, i int) error {
		_, err := api.Jobs(ctx, all[i%len(all)])
		return err
	}
	if err := parallel(ctx, len(all), concurrent, ask); err != nil {
		return nil, err
	}
	b.waitIdle(ctx)
	var taken Samples
	end := b.meter(fmt.Sprintf("jobs, %d", count))
	err = parallel(ctx, pages, concurrent, func(ctx context.Context, i int) error {
		began := time.Now()
		defer func() { taken.Add(time.Since(began)) }()
		return ask(ctx, i)
	})
	if err != nil {
		return nil, err
	}
	end(0)
	return &taken, nil
}

package app_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"sori.internal/services/tracker/app"
	"sori.internal/shared/testkit"
)

// BenchmarkProjection measures how fast one replica projects a backlog of 20 000 events.
func BenchmarkProjection(b *testing.B) {
	const jobs, each = 2500, 8
	for b.Loop() {
		b.StopTimer()
		c := newEnv(b, testkit.New(b))
		c.MigratedDatabase()
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				for range jobs / 50 {
					j := c.job()
					j.received()
					j.uploading(300)
					j.uploading(600)
					j.stored()
					j.attempted(1)
					j.dispatched(1)
					j.progressed(50, "")
					j.completed(`{"score":1,"values":[1,2,3]}`)
				}
			})
		}
		wg.Wait()
		b.StartTimer()
		start := time.Now()
		c.url = c.Run(app.Run, map[string]string{"LOG_LEVEL": "info"}).URL
		db := c.db()
		testkit.Eventually(b, func() error {
			var done int
			const query = `SELECT count(*) FROM tracker.analysis_results WHERE status = 'completed' AND created_at IS NOT NULL`
			if err := db.GetContext(c.Context(), &done, query); err != nil {
				return fmt.Errorf("count: %w", err)
			}
			if done < jobs {
				return fmt.Errorf("%d of %d jobs are done", done, jobs)
			}
			return nil
		})
		b.ReportMetric(jobs*each/time.Since(start).Seconds(), "events/s")
	}
}

// Package audit looks at Sori from behind: at the log, the rows and the objects
// that its services leave, and at whether they agree. Whatever was killed, paused
// or full meanwhile, of each accepted job there must be one ending in the log,
// one row that says the same, and one object if and only if it was stored.
package audit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/minio/minio-go/v7"
	"github.com/nats-io/nats.go/jetstream"

	"sori.internal/shared/bus"
	"sori.internal/shared/event"
)

// Books are what an installation keeps of its jobs.
type Books struct {
	Bus       *bus.Bus
	JetStream jetstream.JetStream
	Namespace event.Namespace
	DB        *sqlx.DB
	S3        *minio.Client
	Bucket    string
}

// Row is a job as Postgres holds it.
type Row struct {
	JobID   string `db:"job_id"`
	Status  string `db:"status"`
	Version int64  `db:"version"`
}

// Rows reads all rows, by job.
func (b Books) Rows(ctx context.Context) (map[string]Row, error) {
	const query = `
		SELECT job_id, status, version
		FROM tracker.analysis_results`
	var list []Row
	if err := b.DB.SelectContext(ctx, &list, query); err != nil {
		return nil, fmt.Errorf("read the rows: %w", err)
	}
	byJob := make(map[string]Row, len(list))
	for _, r := range list {
		byJob[r.JobID] = r
	}
	return byJob, nil
}

// lookAgain is the pause between two looks at what is not there yet.
const lookAgain = 50 * time.Millisecond

// AwaitEnds waits until every row has ended, those of the given jobs among them.
func (b Books) AwaitEnds(ctx context.Context, jobs []string) (map[string]Row, error) {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		rows, err := b.Rows(ctx)
		if err == nil {
			err = Ended(rows, jobs)
		}
		if err == nil {
			return rows, nil
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(err, ctx.Err())
		case <-tick.C:
		}
	}
}

// Ended returns an error where a row has not ended, or one of the jobs has none.
func Ended(rows map[string]Row, jobs []string) error {
	for _, job := range jobs {
		if _, ok := rows[job]; !ok {
			return fmt.Errorf("job %s has no row", job)
		}
	}
	for _, r := range rows {
		if r.Status == "processing" {
			return fmt.Errorf("job %s has not ended", r.JobID)
		}
	}
	return nil
}

// Endings collects the endings in every job's log, by job.
func (b Books) Endings(ctx context.Context) (map[string][]event.Name, error) {
	all, err := b.JetStream.OrderedConsumer(ctx, b.Namespace.Stream(event.Jobs().Name), jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{b.Namespace.Subject(event.AllJobs)},
	})
	if err != nil {
		return nil, fmt.Errorf("read the logs: %w", err)
	}
	info, err := all.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the logs: %w", err)
	}
	found := map[string][]event.Name{}
	for left := info.NumPending; left > 0; {
		batch, err := all.Fetch(int(min(left, 500)), jetstream.FetchMaxWait(5*time.Second))
		if err != nil {
			return nil, fmt.Errorf("read the logs: %w", err)
		}
		for m := range batch.Messages() {
			left--
			job, name, err := event.ParseSubject(b.Namespace.Strip(m.Subject()))
			if err != nil {
				return nil, fmt.Errorf("read the logs: %w", err)
			}
			if found[job] == nil {
				found[job] = []event.Name{}
			}
			if name.Ending() {
				found[job] = append(found[job], name)
			}
		}
		if err := batch.Error(); err != nil {
			return nil, fmt.Errorf("read the logs: %w", err)
		}
	}
	return found, nil
}

// Objects counts the objects of every job.
func (b Books) Objects(ctx context.Context) (map[string]int, error) {
	found := map[string]int{}
	for o := range b.S3.ListObjects(ctx, b.Bucket, minio.ListObjectsOptions{Prefix: "audio/", Recursive: true}) {
		if o.Err != nil {
			return nil, fmt.Errorf("list the objects: %w", o.Err)
		}
		job, _, _ := strings.Cut(strings.TrimPrefix(o.Key, "audio/"), "_")
		found[job]++
	}
	return found, nil
}

// Check holds what must be true once every job has ended, the accepted ones
// being given; it returns all that is not.
func (b Books) Check(ctx context.Context, jobs []string, rows map[string]Row) error {
	endings, err := b.Endings(ctx)
	if err != nil {
		return err
	}
	objects, err := b.Objects(ctx)
	if err != nil {
		return err
	}
	var wrong []error
	for _, job := range jobs {
		if len(endings[job]) == 0 {
			wrong = append(wrong, fmt.Errorf("accepted job %s has no ending", job))
		}
	}
	if len(endings) != len(rows) {
		wrong = append(wrong, fmt.Errorf("%d jobs in the log, %d rows", len(endings), len(rows)))
	}
	for job, ends := range endings {
		if len(ends) != 1 || string(ends[0]) != rows[job].Status {
			wrong = append(wrong, fmt.Errorf("job %s ended with %v, its row says %q", job, ends, rows[job].Status))
		}
		want := 1
		if log, err := b.Bus.Log(ctx, job); err != nil {
			return errors.Join(append(wrong, err)...)
		} else if _, stored := event.Last[event.Stored](log); !stored {
			want = 0
		}
		if objects[job] != want {
			wrong = append(wrong, fmt.Errorf("job %s has %d objects, want %d", job, objects[job], want))
		}
		delete(objects, job)
	}
	if len(objects) > 0 {
		wrong = append(wrong, fmt.Errorf("objects of no job: %v", objects))
	}
	return errors.Join(wrong...)
}

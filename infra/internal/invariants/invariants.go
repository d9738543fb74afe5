// Package invariants checks that the log, the rows and the objects of Sori agree. Whatever was
// killed, paused or full meanwhile, each accepted job must have one history in the log with one
// last terminal event, one row with the same status, and one object if and only if it was stored
// and is not erased.
package invariants

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jmoiron/sqlx"
	"github.com/minio/minio-go/v7"
	"github.com/nats-io/nats.go/jetstream"

	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/objectstore"
)

// Checker reads the log, the rows and the objects of an installation.
type Checker struct {
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
func (c Checker) Rows(ctx context.Context) (map[string]Row, error) {
	const query = `
		SELECT job_id, status, version
		FROM tracker.analysis_results`
	var list []Row
	if err := c.DB.SelectContext(ctx, &list, query); err != nil {
		return nil, fmt.Errorf("read the rows: %w", err)
	}
	byJob := make(map[string]Row, len(list))
	for _, r := range list {
		byJob[r.JobID] = r
	}
	return byJob, nil
}

// AwaitEnds waits until every row has ended, those of the given jobs among them.
func (c Checker) AwaitEnds(ctx context.Context, jobs []string) (map[string]Row, error) {
	var rows map[string]Row
	err := retry(ctx, func() (err error) {
		if rows, err = c.Rows(ctx); err == nil {
			err = Ended(rows, jobs)
		}
		return err
	}, func(error) bool { return true })
	return rows, err
}

// Ended returns an error where a row has not ended, or one of the jobs has none.
func Ended(rows map[string]Row, jobs []string) error {
	for _, job := range jobs {
		if _, ok := rows[job]; !ok {
			return fmt.Errorf("job %s has no row", job)
		}
	}
	for _, r := range rows {
		if r.Status == Processing {
			return fmt.Errorf("job %s has not ended", r.JobID)
		}
	}
	return nil
}

// Histories reads what happened to every job. A bus that is away, or choosing who
// leads it, is asked again until ctx ends.
func (c Checker) Histories(ctx context.Context) (map[string]History, error) {
	var found map[string]History
	err := retry(ctx, func() (err error) {
		found, err = c.histories(ctx)
		return err
	}, func(err error) bool { return fault.Is(err, fault.Unavailable) })
	return found, err
}

func (c Checker) histories(ctx context.Context) (map[string]History, error) {
	found := map[string]History{}
	err := c.Bus.Stream(event.Jobs()).Scan(ctx, true, []string{event.AllJobs}, func(m bus.Message) error {
		job, name, err := event.ParseSubject(m.Subject)
		if err != nil {
			return fmt.Errorf("read the logs: %w", err)
		}
		e, err := event.Decode(m.Subject, m.Data)
		if err != nil { // as it stands in a log
			e = event.Unreadable{JobID: job, Of: name}
		}
		found[job] = append(found[job], e)
		return nil
	})
	return found, err
}

// recordings is the prefix of the recordings' keys: audio/{job}_{name}.
const recordings = objectstore.Recordings

// EachObject shows see the objects of a job, or of every job if it is empty. An object among the
// recordings that names no job is not Sori's and is left out.
func EachObject(ctx context.Context, client *minio.Client, bucket, job string, see func(job string, info minio.ObjectInfo)) error {
	return eachRecording(ctx, client, bucket, job, func(name string, info minio.ObjectInfo) {
		if id, ok := event.ParseJobID(name); ok {
			see(id, info)
		}
	})
}

// eachRecording shows see the objects whose names begin with a prefix, each with the part of its name
// that should be a job.
func eachRecording(ctx context.Context, client *minio.Client, bucket, prefix string, see func(name string, info minio.ObjectInfo)) error {
	ctx, cancel := context.WithCancel(ctx) // ends the listing if it is not read to its end
	defer cancel()
	for info := range client.ListObjects(ctx, bucket, minio.ListObjectsOptions{Prefix: recordings + prefix, Recursive: true}) {
		if info.Err != nil {
			return objectstore.Translate("list bucket "+bucket, info.Err)
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(info.Key, recordings), "_")
		see(name, info)
	}
	return ctx.Err()
}

// Objects counts the objects of every job, and those that name none.
func (c Checker) Objects(ctx context.Context) (map[string]int, error) {
	found := map[string]int{}
	err := eachRecording(ctx, c.S3, c.Bucket, "", func(name string, _ minio.ObjectInfo) { found[name]++ })
	return found, err
}

// Check holds what must be true once every job has ended, the accepted ones
// being given; it returns all that is not.
func (c Checker) Check(ctx context.Context, jobs []string, rows map[string]Row) error {
	histories, err := c.Histories(ctx)
	if err != nil {
		return err
	}
	objects, err := c.Objects(ctx)
	if err != nil {
		return err
	}
	var wrong []error
	for _, job := range jobs {
		if len(histories[job]) == 0 {
			wrong = append(wrong, fmt.Errorf("accepted job %s has no log", job))
		}
	}
	if len(histories) != len(rows) {
		wrong = append(wrong, fmt.Errorf("%d jobs in the log, %d rows", len(histories), len(rows)))
	}
	for job, h := range histories {
		wrong = append(wrong, compare(job, h, rows[job], objects[job]))
		delete(objects, job)
	}
	if len(objects) > 0 {
		wrong = append(wrong, fmt.Errorf("objects of no job: %v", objects))
	}
	return errors.Join(wrong...)
}

// compare holds one ended job's history against itself, its row and its objects.
func compare(job string, h History, row Row, objects int) error {
	var wrong []error
	if err := h.Check(); err != nil {
		wrong = append(wrong, fmt.Errorf("job %s: %w", job, err))
	}
	if end, ended := h.Ending(); !ended {
		wrong = append(wrong, fmt.Errorf("job %s has not ended: its log ends with %s", job, end))
	} else if Status(end) != row.Status {
		wrong = append(wrong, fmt.Errorf("job %s ended with %s, its row says %q", job, end, row.Status))
	}
	want := 0
	if h.Stored() && !h.Erased() {
		want = 1
	}
	if objects != want {
		wrong = append(wrong, fmt.Errorf("job %s has %d objects, want %d", job, objects, want))
	}
	return errors.Join(wrong...)
}

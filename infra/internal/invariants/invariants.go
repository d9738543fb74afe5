// Package invariants checks that the job log, the rows in Postgres and the objects in S3 agree, even after
// processes were killed or paused and dependencies were full. Each accepted job must have:
//
//  1. a history in the log whose last event is terminal,
//  2. a row with the same status,
//  3. one object if the log contains the event `stored` and neither `expired` nor `erased`, otherwise none.
package invariants

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	_ "github.com/lib/pq" // the database/sql driver
	"github.com/minio/minio-go/v7"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"sori.internal/shared/bus"
	"sori.internal/shared/config"
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

	closers []func() error // close the connections that Open has made
}

// reconnectWait is the delay between attempts to reconnect. It is short, because the checked installation is often restarted.
const reconnectWait = 100 * time.Millisecond

// Open returns a checker of the installation that the settings of its services describe. It does not
// wait for a dependency that is unavailable. The caller must close the checker.
func Open(settings map[string]string) (c Checker, err error) {
	var cfg struct {
		Bus     bus.Config
		Objects objectstore.Config
	}
	if err := config.Load(config.Map(settings), &cfg); err != nil {
		return c, err
	}
	c.Namespace, c.Bucket = cfg.Bus.Namespace, cfg.Objects.Bucket
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("connect the checker: %w", err), c.Close())
		}
	}()
	if c.S3, err = objectstore.Open(cfg.Objects); err != nil {
		return c, err
	}
	if c.Bus, err = bus.Open(cfg.Bus, "invariants", zerolog.Nop()); err != nil {
		return c, err
	}
	c.closers = append(c.closers, c.Bus.Close)
	nc, err := cfg.Bus.Dial("checker", nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait))
	if err != nil {
		return c, err
	}
	c.closers = append(c.closers, func() error { nc.Close(); return nil })
	if c.JetStream, err = jetstream.New(nc); err != nil {
		return c, err
	}
	if c.DB, err = sqlx.Open("postgres", settings["DATABASE_URL"]); err != nil {
		return c, err
	}
	c.closers = append(c.closers, c.DB.Close)
	return c, nil
}

// Close closes the connections of a checker that Open has returned.
func (c Checker) Close() error {
	var errs []error
	for _, end := range c.closers {
		errs = append(errs, end())
	}
	return errors.Join(errs...)
}

// Row is a job's row in the tracker's table.
type Row struct {
	JobID   string `db:"job_id"`
	Status  string `db:"status"`
	Version int64  `db:"version"`
	Owner   string `db:"owner"` // empty if the job has no owner
}

// Rows returns all rows, by job.
func (c Checker) Rows(ctx context.Context) (map[string]Row, error) {
	const query = `
		SELECT job_id, status, version, coalesce(owner, '') AS owner
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

// AwaitEnds waits until the job of every row has ended, and every given job and every job in the log has a row. It returns
// all rows. The log may contain a job that was not accepted: its upload got a 503 because NATS did not acknowledge the
// event, which was stored nevertheless, possibly after the response.
func (c Checker) AwaitEnds(ctx context.Context, jobs []string) (map[string]Row, error) {
	var rows map[string]Row
	err := retry(ctx, func() (err error) {
		if rows, err = c.Rows(ctx); err != nil {
			return err
		}
		if err := Ended(rows, jobs); err != nil {
			return err
		}
		histories, err := c.histories(ctx)
		if err != nil {
			return err
		}
		return haveRows(histories, rows)
	}, func(error) bool { return true })
	return rows, err
}

// haveRows returns an error if the log contains a job that has no row.
func haveRows(histories map[string]History, rows map[string]Row) error {
	for job := range histories {
		if _, ok := rows[job]; !ok {
			return fmt.Errorf("job %s of the log has no row", job)
		}
	}
	return nil
}

// Ended returns an error if the job of a row has not ended, or if one of the given jobs has no row. It also returns an error
// if a job's end is recorded but its event `received` is not: the row then has version 0, and clients do not see it. This
// state is temporary: the event `received` is redelivered if the tracker that got it was killed. A row with version 0 is no
// error if its job was erased, because the log of an erased job may have lost its event `received`.
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
		if r.Version == 0 && r.Status != Status(event.NameErased) {
			return fmt.Errorf("job %s is %s, and its acceptance is not recorded", r.JobID, r.Status)
		}
	}
	return nil
}

// Histories returns the history of every job. While NATS is unavailable, or its cluster
// elects a leader, it repeats the request until ctx ends.
func (c Checker) Histories(ctx context.Context) (map[string]History, error) {
	var found map[string]History
	err := retry(ctx, func() (err error) {
		found, err = c.histories(ctx)
		return err
	}, func(err error) bool { return fault.Is(err, fault.Unavailable) })
	return found, err
}

func (c Checker) histories(ctx context.Context) (map[string]History, error) {
	logs, err := c.Logs(ctx)
	found := make(map[string]History, len(logs))
	for job, log := range logs {
		for _, r := range log {
			found[job] = append(found[job], r.Event)
		}
	}
	return found, err
}

// recordings is the prefix of the recordings' keys: audio/{job}_{name}.
const recordings = objectstore.Recordings

// EachObject calls the function see for each object of a job, or for those of every job if the parameter job is empty.
// It skips objects whose key contains no job id, which Sori has not stored.
func (c Checker) EachObject(ctx context.Context, job string, see func(job string, info minio.ObjectInfo)) error {
	return c.eachRecording(ctx, job, func(name string, info minio.ObjectInfo) {
		if id, ok := event.ParseJobID(name); ok {
			see(id, info)
		}
	})
}

// eachRecording calls the function see for each object whose key, without the prefix of recordings, begins with the
// parameter prefix. The first argument of see is the part of the key that should be a job id.
func (c Checker) eachRecording(ctx context.Context, prefix string, see func(name string, info minio.ObjectInfo)) error {
	ctx, cancel := context.WithCancel(ctx) // stops the listing if this function returns early
	defer cancel()
	for info := range c.S3.ListObjects(ctx, c.Bucket, minio.ListObjectsOptions{Prefix: recordings + prefix, Recursive: true}) {
		if info.Err != nil {
			return objectstore.Translate("list bucket "+c.Bucket, info.Err)
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(info.Key, recordings), "_")
		see(name, info)
	}
	return ctx.Err()
}

// Objects returns the number of objects by job. For an object whose key contains no job id, the part of the key in the place
// of the id stands for the job.
func (c Checker) Objects(ctx context.Context) (map[string]int, error) {
	found := map[string]int{}
	err := c.eachRecording(ctx, "", func(name string, _ minio.ObjectInfo) { found[name]++ })
	return found, err
}

// Check checks the invariants after every job has ended, and returns an error with all
// violations. The parameters are the accepted jobs and all rows.
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

// compare checks an ended job: that its history is valid, and that its row and its number of objects agree with the history.
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
	if h.Stored() && !h.Erased() && !h.Expired() {
		want = 1
	}
	if objects != want {
		wrong = append(wrong, fmt.Errorf("job %s has %d objects, want %d", job, objects, want))
	}
	return errors.Join(wrong...)
}

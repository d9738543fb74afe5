package scenario

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/minio/minio-go/v7"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The number of events of one job, and the size of an event in bytes.
const (
	baselineEvents    = 5
	baselineEventSize = 400
)

// baseline contains the measurements of only the unavoidable I/O of jobs: for each job it writes an object, a row and five
// events, each durable before the next, with the client libraries alone and the same concurrency. The zero value means that it
// was not measured.
type baseline struct {
	rate float64 // jobs per second
	took *Samples
}

// withBaseline returns the figure, a percentile of Sori's times, with the same percentile of the baseline's times.
func (f baseline) withBaseline(figure Figure, p float64) Figure {
	if f.took != nil {
		figure.Baseline = inMilliseconds(f.took.Percentile(p))
	}
	return figure
}

// measureBaseline measures the baseline of a scenario. It is called directly before the scenario, since the speed of a machine
// changes over time.
func (b *Bench) measureBaseline(ctx context.Context, name string, size Size) (f baseline, err error) {
	if !b.Baseline || b.Target.S3 == nil || b.Target.DB == nil || b.Target.NATS == nil {
		return baseline{}, nil
	}
	b.Say("baseline of %s: %d objects, %d at a time", name, size.Jobs, size.Concurrent)
	w, err := b.newBaseline(ctx, size)
	if err != nil {
		return f, fmt.Errorf("baseline: %w", err)
	}
	defer func() { err = errors.Join(err, w.close(ctx)) }()
	for _, part := range []struct { // the first part is not counted: it opens connections and pools
		jobs  int
		count bool
	}{{min(size.Concurrent, size.Jobs), false}, {size.Jobs, true}} {
		end := func(int) {}
		if part.count {
			end = b.meter(name + " floor")
		}
		f.took = &Samples{}
		began := time.Now()
		err := parallel(ctx, part.jobs, size.Concurrent, func(ctx context.Context, i int) error {
			began := time.Now()
			defer func() { f.took.Add(time.Since(began)) }()
			return w.job(ctx, uint64(i))
		})
		if err != nil {
			return f, fmt.Errorf("baseline: %w", err)
		}
		f.rate = float64(part.jobs) / time.Since(began).Seconds()
		end(part.jobs)
	}
	return f, nil
}

// baselineWork executes the I/O of the baseline.
type baselineWork struct {
	b    *Bench
	size Size
	js   jetstream.JetStream
	body string
	next func(n uint64) io.Reader
}

const (
	baselineStream  = "BENCH_FLOOR"
	baselineSubject = "bench.floor."
)

func (b *Bench) newBaseline(ctx context.Context, size Size) (*baselineWork, error) {
	js, err := jetstream.New(b.Target.NATS)
	if err != nil {
		return nil, fmt.Errorf("reach the bus: %w", err)
	}
	_, err = js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: baselineStream, Subjects: []string{baselineSubject + ">"}, Storage: jetstream.FileStorage, Duplicates: 5 * time.Minute,
	})
	if err != nil {
		return nil, fmt.Errorf("make a stream: %w", err)
	}
	const table = `
		CREATE TABLE IF NOT EXISTS bench_floor (
			id         uuid PRIMARY KEY,
			status     text NOT NULL,
			key        text NOT NULL,
			result     json,
			created_at timestamptz NOT NULL DEFAULT now()
		)`
	if _, err := b.Target.DB.ExecContext(ctx, table); err != nil {
		return nil, fmt.Errorf("make a table: %w", err)
	}
	b.Target.DB.SetMaxOpenConns(size.Concurrent)
	b.Target.DB.SetMaxIdleConns(size.Concurrent)
	return &baselineWork{
		b: b, size: size, js: js, next: b.audio(size.Bytes).Body,
		body: `{"filler":"` + strings.Repeat("x", baselineEventSize) + `"}`,
	}, nil
}

// job executes the I/O of one job.
func (w *baselineWork) job(ctx context.Context, n uint64) error {
	id := uuid.Must(uuid.NewV7()).String()
	key := "floor/" + id
	// The struct hides the reader's other methods, so that the library cannot seek. It cannot seek in a body from the network
	// either.
	body := struct{ io.Reader }{w.next(n)}
	_, err := w.b.Target.S3.PutObject(ctx, w.b.Target.Bucket, key, body, w.size.Bytes, minio.PutObjectOptions{
		ContentType: "audio/wav", DisableMultipart: true,
	})
	if err != nil {
		return fmt.Errorf("put the object: %w", err)
	}
	const insert = `
		INSERT INTO bench_floor (id, status, key, result)
		VALUES ($1, 'completed', $2, '{"duration":3.2}')`
	if _, err := w.b.Target.DB.ExecContext(ctx, insert, id, key); err != nil {
		return fmt.Errorf("insert the row: %w", err)
	}
	for i := range baselineEvents {
		event := strconv.Itoa(i)
		msg := &nats.Msg{Subject: baselineSubject + id + "." + event, Data: []byte(w.body)}
		if _, err := w.js.PublishMsg(ctx, msg, jetstream.WithMsgID(id+event)); err != nil {
			return fmt.Errorf("publish an event: %w", err)
		}
	}
	return nil
}

// close deletes the table and the stream of the baseline. The objects stay until the bucket is deleted.
func (w *baselineWork) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	_, err := w.b.Target.DB.ExecContext(ctx, `DROP TABLE bench_floor`)
	if err = errors.Join(err, w.js.DeleteStream(ctx, baselineStream)); err != nil {
		return fmt.Errorf("clean up: %w", err)
	}
	return nil
}

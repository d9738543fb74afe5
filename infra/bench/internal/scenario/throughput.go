package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"sori.internal/infra/internal/client"
)

// followed is the number of jobs of a scenario for which a progress stream is opened.
const followed = 200

// small measures many concurrent uploads of small recordings.
func small(ctx context.Context, b *Bench) error {
	size := b.Size.or(Size{Jobs: 4000, Concurrent: 32, Bytes: 100_000})
	f, r, err := b.throughput(ctx, "small", size)
	if err != nil {
		return err
	}
	const name = "small"
	uploads, jobs := r.rates()
	b.add(Figure{Scenario: name, Name: "uploads acknowledged", Value: uploads, Unit: "/s", Bound: Bound{AtLeast: 400}, Baseline: f.rate})
	b.add(Figure{Scenario: name, Name: "jobs completed", Value: jobs, Unit: "/s", Bound: Bound{AtLeast: 150}, Baseline: f.rate})
	b.latencies(name, r, f)
	return nil
}

// large measures a few concurrent uploads of large recordings.
func large(ctx context.Context, b *Bench) error {
	size := b.Size.or(Size{Jobs: 60, Concurrent: 4, Bytes: 10_000_000})
	f, r, err := b.throughput(ctx, "large", size)
	if err != nil {
		return err
	}
	const name = "large"
	uploads, jobs := r.rates()
	mb := float64(size.Bytes) / 1e6
	b.add(Figure{Scenario: name, Name: "bytes acknowledged", Value: uploads * mb, Unit: "MB/s", Bound: Bound{AtLeast: 60}, Baseline: f.rate * mb})
	b.add(Figure{Scenario: name, Name: "bytes of completed jobs", Value: jobs * mb, Unit: "MB/s", Baseline: f.rate * mb})
	b.latencies(name, r, f)
	return nil
}

func (b *Bench) latencies(name string, r *run, f baseline) {
	for _, p := range []float64{50, 90, 99, 100} {
		label := fmt.Sprintf("p%.0f", p)
		if p == 100 {
			label = "max"
		}
		b.add(f.withBaseline(milliseconds(name, "upload acknowledged "+label, r.acks.Percentile(p), Bound{}), p))
	}
	for _, p := range []float64{50, 99} {
		label := fmt.Sprintf("upload to last frame p%.0f (SSE, %d streams)", p, r.ends.Len())
		b.add(f.withBaseline(milliseconds(name, label, r.ends.Percentile(p), Bound{}), p))
	}
	b.add(milliseconds(name, "first frame p99 (under this load)", r.firsts.Percentile(99), Bound{}))
}

// run contains the measurements of one run of uploads.
type run struct {
	acks   Samples // times from the request to its answer
	ends   Samples // times from the request to the last frame, for jobs with a stream
	firsts Samples // times from the opening of a stream to its first frame

	began time.Time
	acked time.Time // the time of the last answer
	ended time.Time // the time at which the last job ended

	stages stages // set only if the jobs were uploaded one after the other

	mu     sync.Mutex
	jobs   []string
	cached int // followed jobs that were completed with a cached result
}

// rates returns the acknowledged uploads and the completed jobs per second.
func (r *run) rates() (uploads, jobs float64) {
	n := float64(len(r.jobs))
	return n / r.acked.Sub(r.began).Seconds(), n / r.ended.Sub(r.began).Seconds()
}

// throughput measures the baseline, then the uploads, and waits for all jobs.
func (b *Bench) throughput(ctx context.Context, name string, size Size) (baseline, *run, error) {
	f, err := b.measureBaseline(ctx, name, Size{Jobs: max(size.Jobs/2, 1), Concurrent: size.Concurrent, Bytes: size.Bytes})
	if err != nil {
		return f, nil, err
	}
	b.Say("%s: %d uploads of %d bytes, %d at a time", name, size.Jobs, size.Bytes, size.Concurrent)
	api := b.Target.Client(size.Concurrent)
	defer api.Close()
	if err := b.warmUp(ctx, api, min(size.Concurrent, size.Jobs), size.Bytes); err != nil {
		return f, nil, err
	}
	end := b.meter(name)
	r, err := b.upload(ctx, api, size)
	if err != nil {
		return f, nil, err
	}
	end(size.Jobs)
	return f, r, nil
}

// warmUp uploads n recordings and waits for their jobs, so that connections and pools are open before the measurement.
func (b *Bench) warmUp(ctx context.Context, api *client.Client, n int, bytes int64) error {
	audio := b.audio(bytes)
	return parallel(ctx, n, n, func(ctx context.Context, i int) error {
		return b.complete(ctx, api, audio.Form(uint64(i)))
	})
}

// upload uploads the recordings, follows some of the jobs by a stream, and waits until all jobs have ended.
func (b *Bench) upload(ctx context.Context, api *client.Client, size Size) (*run, error) {
	r := &run{began: time.Now()}
	audio := b.audio(size.Bytes)
	every := max(size.Jobs/followed, 1)
	if b.Target.Completions == nil {
		every = 1 // without NATS, only a stream shows the end of a job, so every job gets one
	}
	follows, followCtx := errgroup.WithContext(ctx)
	err := parallel(ctx, size.Jobs, size.Concurrent, func(ctx context.Context, i int) error {
		began := time.Now()
		job, err := api.Upload(ctx, b.Target.Token, audio.Form(uint64(i)))
		if err != nil {
			return err
		}
		acked := time.Now()
		r.acks.Add(acked.Sub(began))
		r.mu.Lock()
		r.jobs, r.acked = append(r.jobs, job), acked
		r.mu.Unlock()
		if i%every == 0 {
			follows.Go(func() error { return r.follow(followCtx, api, job, began) })
		}
		return nil
	})
	if err = errors.Join(err, follows.Wait()); err != nil {
		return nil, err
	}
	if b.Target.Completions == nil {
		return r, nil
	}
	ended, err := b.Target.Completions.Wait(ctx, api, r.jobs...)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(ended, func(f client.Job) bool { return f.Status != client.Completed }); i >= 0 {
		return nil, fmt.Errorf("%w: %s is %s", errFailed, ended[i].JobID, ended[i].Status)
	}
	r.ended = slices.MaxFunc(ended, func(a, b client.Job) int { return a.At.Compare(b.At) }).At
	return r, nil
}

// follow reads the progress stream of a job, and records the times of the first and the last frame.
func (r *run) follow(ctx context.Context, api *client.Client, job string, began time.Time) error {
	opened, first := time.Now(), true
	var last client.Job
	err := api.Follow(ctx, job, func(f client.Job) {
		if first {
			r.firsts.Add(f.At.Sub(opened))
			first = false
		}
		last = f
	})
	if err != nil {
		return err
	}
	if last.Status != client.Completed {
		return fmt.Errorf("%w: %s is %s", errFailed, job, last.Status)
	}
	r.ends.Add(last.At.Sub(began))
	r.mu.Lock()
	defer r.mu.Unlock()
	if last.Cached {
		r.cached++
	}
	if last.At.After(r.ended) {
		r.ended = last.At
	}
	return nil
}

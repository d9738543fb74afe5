package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sori.internal/infra/bench/internal/target"
	"sori.internal/infra/internal/client"
)

// dispatched reports whether the analysis server has accepted the job or the job has ended. After that only the callback
// changes the job.
func dispatched(f client.Job) bool { return f.Stage == "dispatched" || f.Terminal() }

// latency measures jobs one after the other on an idle machine.
func latency(ctx context.Context, b *Bench) error {
	size := b.Size.or(Size{Jobs: 200, Bytes: 100_000})
	size.Concurrent = 1
	b.waitIdle(ctx)
	f, err := b.measureBaseline(ctx, "latency", size)
	if err != nil {
		return err
	}
	b.Say("latency: %d jobs of %d bytes, one by one", size.Jobs, size.Bytes)
	audio := b.audio(size.Bytes)
	r, err := b.oneByOne(ctx, "latency", size, newStages(), func(i int) client.Form { return audio.Form(uint64(i)) })
	if err != nil {
		return err
	}
	for _, p := range []float64{50, 99} {
		b.add(f.withBaseline(milliseconds("latency", fmt.Sprintf("upload acknowledged p%.0f", p), r.acks.Percentile(p), Bound{}), p))
	}
	for _, p := range []float64{50, 99} {
		b.add(f.withBaseline(milliseconds("latency", fmt.Sprintf("upload to last frame p%.0f, instant analysis", p), r.ends.Percentile(p), Bound{}), p))
	}
	for _, s := range r.stages {
		b.add(milliseconds("latency", "  of it "+s.name+" p50", s.took.Percentile(50), Bound{}))
	}
	held, restore, err := b.Target.UseStub(ctx)
	if err != nil {
		b.Report.Note("latency: webhook to frame not measured: %v", err)
		b.firstFrames(&r.firsts)
		return nil
	}
	err = errors.Join(b.webhooks(ctx, held, size, &r.firsts), restore())
	b.firstFrames(&r.firsts)
	return err
}

func (b *Bench) firstFrames(firsts *Samples) {
	b.add(milliseconds("latency", "first frame after connect p50", firsts.Percentile(50), Bound{}))
	b.add(milliseconds("latency", "first frame after connect p99", firsts.Percentile(99), atMost(50*time.Millisecond)))
	b.add(milliseconds("latency", "first frame after connect max", firsts.Max(), Bound{}))
}

// oneByOne uploads each recording after the job of the previous one has ended. The parameter form returns the form of the i-th
// upload.
func (b *Bench) oneByOne(ctx context.Context, name string, size Size, stages stages, form func(i int) client.Form) (*run, error) {
	api := b.Target.Client(1)
	defer api.Close()
	if err := b.warmUp(ctx, api, 8, size.Bytes); err != nil {
		return nil, err
	}
	r := &run{stages: stages}
	var seen *target.Stages
	if b.Target.NATS != nil {
		var err error
		if seen, err = target.WatchStages(b.Target.NATS); err != nil {
			return nil, err
		}
		defer seen.Close()
	}
	end := b.meter(name)
	for i := range size.Jobs {
		began := time.Now()
		job, err := api.Upload(ctx, b.Target.Token, form(i))
		if err != nil {
			return nil, err
		}
		r.acks.Add(time.Since(began))
		if err := r.follow(ctx, api, job, began); err != nil {
			return nil, err
		}
		if seen != nil {
			r.stages.add(began, seen.Of(job), r.ended)
		}
	}
	end(size.Jobs)
	return r, nil
}

// webhooks measures the time from the request of a callback to its answer, and to the job's terminal frame.
func (b *Bench) webhooks(ctx context.Context, held *target.StubAnalyzer, size Size, firsts *Samples) error {
	api := b.Target.Client(1)
	defer api.Close()
	audio := b.audio(size.Bytes)
	var frames, answers Samples
	end := b.meter("webhooks")
	for i := range size.Jobs {
		job, err := api.Upload(ctx, b.Target.Token, audio.Form(uint64(i)))
		if err != nil {
			return err
		}
		t, err := b.webhook(ctx, api, held, job)
		if err != nil {
			return err
		}
		firsts.Add(t.first.Sub(t.opened))
		if i >= size.Jobs/20 { // the first callbacks are left out: they open connections
			frames.Add(t.last.Sub(t.called))
			answers.Add(t.answered.Sub(t.called))
		}
	}
	end(size.Jobs)
	const name = "latency"
	b.add(milliseconds(name, "webhook answered p50", answers.Percentile(50), Bound{}))
	b.add(milliseconds(name, "webhook answered p99", answers.Percentile(99), Bound{}))
	b.add(milliseconds(name, "webhook to frame p50", frames.Percentile(50), Bound{}))
	b.add(milliseconds(name, "webhook to frame p99", frames.Percentile(99), atMost(50*time.Millisecond)))
	b.add(milliseconds(name, "webhook to frame max", frames.Max(), Bound{}))
	return nil
}

// times are the times of the steps of one job.
type times struct{ opened, first, called, answered, last time.Time }

// webhook follows a job that waits at the stub analysis server. It finishes the job when the stream shows that it was
// dispatched, and reads the stream until the job has ended.
func (b *Bench) webhook(ctx context.Context, api *client.Client, held *target.StubAnalyzer, job string) (t times, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	waiting, finished := make(chan struct{}), make(chan error, 1)
	go func() {
		err := t.finish(ctx, held, job, waiting)
		if err != nil {
			cancel(err) // otherwise Follow would wait for ever
		}
		finished <- err
	}()
	t.opened = time.Now()
	var last client.Job
	waits := false
	err = api.Follow(ctx, job, func(f client.Job) {
		if t.first.IsZero() {
			t.first = f.At
		}
		if dispatched(f) && !waits {
			waits = true
			close(waiting)
		}
		last = f
	})
	t.last = last.At
	if err != nil {
		cancel(err)
	}
	if finishErr := <-finished; finishErr != nil {
		return t, finishErr
	}
	if err == nil && last.Status != client.Completed {
		err = fmt.Errorf("%w: %s is %s", errFailed, job, last.Status)
	}
	return t, err
}

// finish waits until the channel waiting is closed, and then sends the callback of the job.
func (t *times) finish(ctx context.Context, held *target.StubAnalyzer, job string, waiting <-chan struct{}) error {
	finish, err := held.Held(ctx, job)
	if err != nil {
		return err
	}
	select {
	case <-waiting:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	t.called = time.Now()
	err = finish(ctx, "")
	t.answered = time.Now()
	return err
}

package scenario

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"sori.internal/infra/bench/internal/target"
	"sori.internal/infra/internal/client"
)

// fanoutRounds is the number of rounds, each with a new job. The figures are over all rounds.
const fanoutRounds = 3

// fanout opens many streams of one job and measures how long it takes until the last frame arrives at each.
func fanout(ctx context.Context, b *Bench) (err error) {
	size := b.Size.or(Size{Concurrent: 1000, Bytes: 100_000})
	held, restore, err := b.Target.UseStub(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, restore()) }()
	b.Say("fanout: %d streams, %d times", size.Concurrent, fanoutRounds)
	var ends, firsts Samples
	end := b.meter("fanout")
	for range fanoutRounds {
		b.waitIdle(ctx)
		if err := b.fan(ctx, held, size, &firsts, &ends); err != nil {
			return err
		}
	}
	end(0)
	const name = "fanout"
	b.add(milliseconds(name, fmt.Sprintf("webhook to last frame p50, %d streams", size.Concurrent), ends.Percentile(50), Bound{}))
	b.add(milliseconds(name, "webhook to last frame p99", ends.Percentile(99), Bound{}))
	b.add(milliseconds(name, "webhook to last frame max", ends.Max(), atMost(200*time.Millisecond)))
	b.add(milliseconds(name, "first frame p99 while they connect", firsts.Percentile(99), Bound{}))
	return nil
}

// opening is how many streams connect concurrently at most.
const opening = 64

// fan runs one round.
func (b *Bench) fan(ctx context.Context, held *target.StubAnalyzer, size Size, firsts, ends *Samples) error {
	api := b.Target.Client(1)
	defer api.Close()
	job, err := api.Upload(ctx, b.Target.Token, b.audio(size.Bytes).Form(0))
	if err != nil {
		return err
	}
	finish, err := held.Held(ctx, job)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	var connected sync.WaitGroup
	connected.Add(size.Concurrent)
	arrived := make([]time.Time, size.Concurrent)
	slots := make(chan struct{}, opening)
	for i := range size.Concurrent {
		group.Go(func() error {
			slots <- struct{}{}
			settled := sync.OnceFunc(func() { <-slots; connected.Done() })
			defer settled()
			return watch(ctx, api, job, firsts, &arrived[i], settled)
		})
	}
	connected.Wait()
	called := time.Now()
	if ctx.Err() == nil { // if a stream has failed, Wait returns the error
		if err := finish(ctx, ""); err != nil {
			return err
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, at := range arrived {
		ends.Add(at.Sub(called))
	}
	return nil
}

// watch reads a stream until it ends, and records when its last frame arrived. It calls the function settled when only the
// terminal frame is yet to come.
func watch(ctx context.Context, api *client.Client, job string, firsts *Samples, arrived *time.Time, settled func()) error {
	opened := time.Now()
	return api.Follow(ctx, job, func(f client.Job) {
		if !f.Terminal() && arrived.IsZero() {
			firsts.Add(f.At.Sub(opened))
		}
		*arrived = f.At
		if dispatched(f) {
			settled()
		}
	})
}

package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/harness"
)

// hitIn is the bound for the median time from an upload to the last frame if the result is cached.
const hitIn = 15 * time.Millisecond

var errNotCached = errors.New("a job was not completed with the cached result")

// hits measures uploads of a recording whose result is cached, one after the other.
func hits(ctx context.Context, b *Bench) (err error) {
	size := b.Size.or(Size{Jobs: 200, Bytes: 100_000})
	size.Concurrent = 1
	restore, err := b.cacheResults(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, restore()) }()
	b.waitIdle(ctx)
	f, err := b.measureBaseline(ctx, "hits", size)
	if err != nil {
		return err
	}
	audio := b.audio(size.Bytes)
	form := func(int) client.Form { return audio.Form(0) }
	if err := b.analyse(ctx, form(0)); err != nil {
		return err
	}
	b.Say("hits: %d uploads of one recording of %d bytes, one by one", size.Jobs, size.Bytes)
	r, err := b.oneByOne(ctx, "hits", size, newHitStages(), form)
	if err != nil {
		return err
	}
	if r.cached != size.Jobs {
		return fmt.Errorf("%w: %d of %d were", errNotCached, r.cached, size.Jobs)
	}
	b.add(f.withBaseline(milliseconds("hits", "upload acknowledged p50", r.acks.Percentile(50), Bound{}), 50))
	for _, p := range []float64{50, 99} {
		bound := Bound{}
		if p == 50 {
			bound = atMost(hitIn)
		}
		b.add(f.withBaseline(milliseconds("hits", fmt.Sprintf("upload to last frame p%.0f", p), r.ends.Percentile(p), bound), p))
	}
	for _, s := range r.stages {
		b.add(milliseconds("hits", "  of it "+s.name+" p50", s.took.Percentile(50), Bound{}))
	}
	return nil
}

// cacheResults restarts the dispatcher so that it caches results. restore restarts it without the
// cache.
func (b *Bench) cacheResults(ctx context.Context) (restore func() error, err error) {
	set := func(ctx context.Context, ttl string) error {
		return b.Target.Restart(ctx, map[string]string{"RESULT_CACHE_TTL": ttl}, harness.Dispatcher)
	}
	return func() error { return set(context.WithoutCancel(ctx), "0") }, set(ctx, "1h")
}

// analyse uploads a recording and waits until its job is completed. Then its result is cached.
func (b *Bench) analyse(ctx context.Context, form client.Form) error {
	api := b.Target.Client(1)
	defer api.Close()
	return b.complete(ctx, api, form)
}

package scenario

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"sori.internal/infra/bench/internal/target"
	"sori.internal/infra/internal/harness"
)

// soakTolerance is what a service's memory may differ without growing, in MiB: the Go runtime gives memory back when it likes.
const soakTolerance = 8

// soak runs many jobs and compares the services' memory when they are warm with that at the end. Each client waits for the end
// of its job, so that there is never more work under way at the end than at the beginning.
func soak(ctx context.Context, b *Bench) error {
	size := b.Size.or(Size{Jobs: 10_000, Concurrent: 48, Bytes: 16_000})
	b.Say("soak: %d jobs of %d bytes, %d at a time", size.Jobs, size.Bytes, size.Concurrent)
	// Fresh processes: what an earlier scenario made them hold would hide growth.
	err := b.Target.Restart(ctx, nil, harness.Gateway, harness.Uploader, harness.Dispatcher, harness.Tracker)
	if err != nil && !errors.Is(err, target.ErrNotOurs) {
		return err
	}
	api := b.Target.Client(size.Concurrent)
	defer api.Close()
	audio := b.audio(size.Bytes)
	warm, late := newAverage(), newAverage()
	var done atomic.Int64
	end := b.meter("soak")
	began := time.Now()
	err = parallel(ctx, size.Jobs, size.Concurrent, func(ctx context.Context, i int) error {
		job, err := api.Upload(ctx, b.Target.Token, audio.Form(uint64(i)))
		if err != nil {
			return err
		}
		if _, err := b.ending(ctx, api, job); err != nil {
			return err
		}
		b.look(int(done.Add(1)), size.Jobs, warm, late)
		return nil
	})
	if err != nil {
		return err
	}
	end(size.Jobs)
	b.add(Figure{Scenario: "soak", Name: fmt.Sprintf("jobs completed, %d at a time", size.Concurrent), Unit: "/s",
		Value: float64(size.Jobs) / time.Since(began).Seconds()})
	for _, name := range warm.names() {
		b.add(Figure{Scenario: "soak", Name: name + ": RSS from the 2nd to the last tenth", Unit: "MiB grown",
			Value: late.of(name) - warm.of(name), Bound: Bound{AtMost: soakTolerance}})
	}
	return nil
}

// look measures the services' memory in the second and in the last tenth of the jobs, when so many are
// done. The averages are over a tenth each: one look would show where the garbage collector happens to be.
func (b *Bench) look(done, jobs int, warm, late *average) {
	if done%max(jobs/500, 1) != 0 {
		return
	}
	switch done * 10 / jobs {
	case 1:
		warm.add(b.Target.Services())
	case 9:
		late.add(b.Target.Services())
	}
}

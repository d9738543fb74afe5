package scenario

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"sori.internal/infra/bench/internal/target"
	"sori.internal/infra/internal/harness"
)

// soakTolerance is the bound for the growth of a service's memory, in MiB. It is not 0, because the Go runtime does not return
// memory to the system at once.
const soakTolerance = 8

// soak runs many jobs and compares the services' memory after the warm-up with that after the last job. Each client waits for
// the end of its job before the next upload, so that the amount of concurrent work stays constant.
func soak(ctx context.Context, b *Bench) error {
	size := b.Size.or(Size{Jobs: 10_000, Concurrent: 48, Bytes: 16_000})
	b.Say("soak: %d jobs of %d bytes, %d at a time", size.Jobs, size.Bytes, size.Concurrent)
	// The processes are restarted, because memory from an earlier scenario would hide the growth.
	err := b.Target.Restart(ctx, nil, harness.Gateway, harness.Uploader, harness.Dispatcher, harness.Tracker)
	if err != nil && !errors.Is(err, target.ErrNotOurs) {
		return err
	}
	api := b.Target.Client(size.Concurrent)
	defer api.Close()
	audio := b.audio(size.Bytes)
	warm, late := &average{sum: map[string]float64{}}, &average{sum: map[string]float64{}}
	var done atomic.Int64
	end := b.meter("soak")
	began := time.Now()
	err = parallel(ctx, size.Jobs, size.Concurrent, func(ctx context.Context, i int) error {
		if err := b.complete(ctx, api, audio.Form(uint64(i))); err != nil {
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
	for _, name := range harness.Services() {
		if warm.sum[name] == 0 { // the benchmark has not started the services
			continue
		}
		b.add(Figure{Scenario: "soak", Name: name + ": RSS from the 2nd to the last tenth", Unit: "MiB grown",
			Value: late.meanRSS(name) - warm.meanRSS(name), Bound: Bound{AtMost: soakTolerance}})
	}
	return nil
}

// look measures the services' memory during the second and the last tenth of the jobs. The parameter done is
// the number of completed jobs. Each average is over many measurements, because a single one depends on the
// state of the garbage collector.
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

// average calculates the mean memory of processes over several measurements. The method add is safe for concurrent use.
type average struct {
	mu    sync.Mutex
	sum   map[string]float64 // of the RSS in MiB, by process
	count int
}

func (a *average) add(uses []target.Use) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count++
	for _, u := range uses {
		a.sum[u.Name] += float64(u.RSS) / (1 << 20)
	}
}

// meanRSS returns the mean RSS of a process in MiB.
func (a *average) meanRSS(name string) float64 { return a.sum[name] / float64(max(a.count, 1)) }

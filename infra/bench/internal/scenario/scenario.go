// Package scenario is what is measured, one file each.
//
// Every scenario is bounded in count and time, leaves the world as it found it but for the jobs that it has run, and adds its
// figures to the report. A figure that was promised carries its bound.
package scenario

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"sori.internal/infra/bench/internal/target"
	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/loadgen"
)

// Scenario is one measurement.
type Scenario struct {
	Name  string
	About string
	Run   func(ctx context.Context, b *Bench) error
	Limit time.Duration
}

// All lists the scenarios in the order in which they run: what wants an idle machine comes first.
func All() []Scenario {
	return []Scenario{
		{"latency", "one job at a time on an idle machine: first frame, webhook to frame, end to end", latency, 3 * time.Minute},
		{"fanout", "1000 progress streams of one job, all waiting for its end", fanout, 3 * time.Minute},
		{"jobs", "pages of the list of jobs, of 1000 and of 1 000 000", jobs, 6 * time.Minute},
		{"small", "100 KB uploads from 32 clients", small, 5 * time.Minute},
		{"large", "10 MB uploads from 4 clients", large, 5 * time.Minute},
		{"soak", "10 000 small jobs: memory after 1000 and at the end", soak, 10 * time.Minute},
		{"huge", "one upload of 1 GiB: memory of gateway and uploader, and its bytes in the bucket", huge, 5 * time.Minute},
	}
}

// Size is how much a scenario does. A zero field leaves it the scenario's own.
type Size struct {
	Jobs       int   `name:"n" help:"jobs of a scenario (default: its own number)"`
	Concurrent int   `name:"c" help:"clients or streams at a time (default: the scenario's own number)"`
	Bytes      int64 `name:"size" help:"bytes of a recording (default: the scenario's own size)"`
}

// or fills what is not given.
func (s Size) or(own Size) Size {
	if s.Jobs == 0 {
		s.Jobs = own.Jobs
	}
	if s.Concurrent == 0 {
		s.Concurrent = own.Concurrent
	}
	if s.Bytes == 0 {
		s.Bytes = own.Bytes
	}
	return s
}

// Bench is what a scenario works with.
type Bench struct {
	Target   *target.Target
	Report   *Report
	Size     Size // given by the caller
	Baseline bool // measure the baseline beside
	// Patience is how long to wait for an idle machine, where one is needed.
	Patience time.Duration
	Say      func(format string, args ...any)

	seed uint64
}

// audio makes recordings that no scenario before has made.
func (b *Bench) audio(bytes int64) *loadgen.Noise {
	b.seed++
	return loadgen.NewNoise(bytes, b.seed)
}

// meter measures the processes during a scenario.
func (b *Bench) meter(name string) func(jobs int) {
	end := b.Target.Meter(name, runtime.NumCPU())
	return func(jobs int) { b.Report.Processes = append(b.Report.Processes, end(jobs)...) }
}

// add adds a figure. What was promised was promised for the scenario's own size: with fewer jobs it is judged, otherwise not.
func (b *Bench) add(f Figure) {
	if b.Size.Concurrent != 0 || b.Size.Bytes != 0 {
		f.Bound = Bound{}
	}
	b.Report.Add(f)
}

// idle is the share of the processors' time below which a machine counts as idle.
const idle = 0.15

// waitIdle waits for an idle machine, as long as the patience lasts.
func (b *Bench) waitIdle(ctx context.Context) {
	const look = 500 * time.Millisecond
	if b.Patience < look {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, b.Patience)
	defer cancel()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		before, err := harness.Busy()
		if err != nil {
			return // nobody tells here
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			b.Say("the machine is not idle")
			return
		}
		if after, err := harness.Busy(); err != nil || float64(after-before) < idle*float64(look)*float64(runtime.NumCPU()) {
			return
		}
	}
}

// milliseconds makes a figure of a duration.
func milliseconds(scenario, name string, d time.Duration, bound Bound) Figure {
	return Figure{Scenario: scenario, Name: name, Value: float64(d) / float64(time.Millisecond), Unit: "ms", Bound: bound}
}

// atMost is a bound on a duration.
func atMost(d time.Duration) Bound {
	return Bound{AtMost: float64(d) / float64(time.Millisecond)}
}

// parallel calls do for 0 to n-1, so many at a time, until all are done or one fails.
func parallel(ctx context.Context, n, concurrent int, do func(ctx context.Context, i int) error) error {
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(concurrent)
	for i := 0; i < n && working.Err() == nil; i++ {
		group.Go(func() error {
			if err := working.Err(); err != nil { // one has failed while this one waited for its turn
				return err
			}
			return do(working, i)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// errFailed says that a job did not end as it should have.
var errFailed = errors.New("job was not completed")

// ending waits for the end of one job.
func (b *Bench) ending(ctx context.Context, c *client.Client, job string) (client.Job, error) {
	var last client.Job
	if b.Target.Completions == nil {
		if err := c.Follow(ctx, job, func(f client.Job) { last = f }); err != nil {
			return last, err
		}
	} else {
		found, err := b.Target.Completions.Wait(ctx, c, job)
		if err != nil {
			return last, err
		}
		last = found[0]
	}
	if last.Status != client.Completed {
		return last, fmt.Errorf("%w: %s is %s", errFailed, job, last.Status)
	}
	return last, nil
}

// Package scenario contains the measurements of the benchmark, which are called scenarios. Each has its own file.
//
// A scenario runs a limited number of jobs for a limited time, and adds the figures that it measures to the report. A figure
// may have a bound; with the flag -check, the benchmark fails if the figure is outside it. Afterwards a scenario undoes its
// changes to the installation, except for the jobs that it has added and for the limits of uploads that the scenarios "huge"
// and "ways" raise.
package scenario

import (
	"cmp"
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
	"sori.internal/shared/wait"
)

// Scenario is one measurement.
type Scenario struct {
	Name  string
	About string
	Run   func(ctx context.Context, b *Bench) error // fails with target.ErrNotOurs if it cannot measure an installation that ran already
	Limit time.Duration
}

// All lists the scenarios in the order in which they run. Those that need an idle machine are first.
func All() []Scenario {
	return []Scenario{
		{"latency", "one job at a time on an idle machine: first frame, webhook to frame, end to end", latency, 3 * time.Minute},
		{"hits", "one upload at a time of a recording whose result is cached", hits, 3 * time.Minute},
		{"fanout", "1000 progress streams of one job, all waiting for its end", fanout, 3 * time.Minute},
		{"jobs", "pages of the list of jobs, of 1000 and of 1 000 000", jobs, 6 * time.Minute},
		{"small", "100 KB uploads from 32 clients", small, 5 * time.Minute},
		{"access", "the uploads of small with an API key, and without authentication", access, 5 * time.Minute},
		{"large", "10 MB uploads from 4 clients", large, 5 * time.Minute},
		{"soak", "10 000 small jobs: memory after 1000 and at the end", soak, 10 * time.Minute},
		{"attacks", "one client attacks: what another user notices, and the memory of every process", attacks, 15 * time.Minute},
		{"huge", "one upload of 1 GiB: memory of gateway and uploader, and its bytes in the bucket", huge, 5 * time.Minute},
		{"ways", "4 uploads of 1 GiB at once by each way, and to tusd's own server: speed, and memory of gateway and uploader", ways, 30 * time.Minute},
	}
}

// Size is the amount of work of a scenario. A field of 0 means the scenario's default.
type Size struct {
	Jobs       int   `name:"n" help:"the number of jobs of each scenario (default: the scenario's own number)"`
	Concurrent int   `name:"c" help:"the number of concurrent clients or streams (default: the scenario's own number)"`
	Bytes      int64 `name:"size" help:"the size of a recording in bytes (default: the scenario's own size)"`
}

// Attacks are the options of the scenario attacks.
type Attacks struct {
	Length time.Duration `name:"attack" default:"10s" help:"the duration of each attack of the scenario attacks"`
	Only   []string      `name:"only" help:"the attacks to run in the scenario attacks: names separated by commas (default: all)"`
}

// or returns the size with its zero fields replaced by those of the parameter own.
func (s Size) or(own Size) Size {
	return Size{cmp.Or(s.Jobs, own.Jobs), cmp.Or(s.Concurrent, own.Concurrent), cmp.Or(s.Bytes, own.Bytes)}
}

// Bench contains the target, the report and the options for the scenarios.
type Bench struct {
	Target   *target.Target
	Report   *Report
	Size     Size // amount of work of a scenario, from the command line
	Attacks  Attacks
	Ways     Ways
	Baseline bool // also measure the baseline
	// Patience is the longest wait for an idle machine before a scenario that needs one.
	Patience time.Duration
	Say      func(format string, args ...any)

	seed uint64
}

// audio returns a generator of recordings that differ from all earlier ones.
func (b *Bench) audio(bytes int64) *loadgen.Noise {
	b.seed++
	return loadgen.NewNoise(bytes, b.seed)
}

// meter starts to measure the processes. The function that it returns adds the measurements to the report.
func (b *Bench) meter(name string) func(jobs int) {
	end := b.Target.Meter(name)
	return func(jobs int) { b.Report.Processes = append(b.Report.Processes, end(jobs)...) }
}

// add adds a figure to the report. A bound applies to the scenario's default concurrency and recording size: if one of these
// was changed, add removes the bound. A changed number of jobs does not remove it.
func (b *Bench) add(f Figure) {
	if b.Size.Concurrent != 0 || b.Size.Bytes != 0 {
		f.Bound = Bound{}
	}
	b.Report.Add(f)
}

// idle is the CPU usage, as a fraction of all processors, below which the machine is idle.
const idle = 0.15

// waitIdle waits until the machine is idle, at most for Patience.
func (b *Bench) waitIdle(ctx context.Context) {
	const look = 500 * time.Millisecond
	if b.Patience < look {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, b.Patience)
	defer cancel()
	for {
		before, err := harness.Busy()
		if err != nil {
			return // this system does not report its CPU usage
		}
		if wait.For(ctx, look) != nil {
			b.Say("the machine is not idle")
			return
		}
		if after, err := harness.Busy(); err != nil || float64(after-before) < idle*float64(look)*float64(runtime.NumCPU()) {
			return
		}
	}
}

func inMilliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// milliseconds returns a figure with a duration in milliseconds.
func milliseconds(scenario, name string, d time.Duration, bound Bound) Figure {
	return Figure{Scenario: scenario, Name: name, Value: inMilliseconds(d), Unit: "ms", Bound: bound}
}

// atMost returns an upper bound for a duration.
func atMost(d time.Duration) Bound { return Bound{AtMost: inMilliseconds(d)} }

// parallel calls the function do for 0 to n-1, with at most the given number of concurrent calls. It returns when all have
// returned, and starts no further calls after one has failed.
func parallel(ctx context.Context, n, concurrent int, do func(ctx context.Context, i int) error) error {
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(concurrent)
	for i := 0; i < n && working.Err() == nil; i++ {
		group.Go(func() error {
			if err := working.Err(); err != nil { // another call has failed in the meantime
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

// errFailed means that a job ended but was not completed.
var errFailed = errors.New("job was not completed")

// complete uploads a recording, and waits until its job is completed.
func (b *Bench) complete(ctx context.Context, c *client.Client, form client.Form) error {
	job, err := c.Upload(ctx, b.Target.Token, form)
	if err != nil {
		return err
	}
	_, err = b.ending(ctx, c, job)
	return err
}

// ending waits until a job has ended. It returns an error if the job is not completed.
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

package target

import (
	"os"
	"time"

	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/stack"
)

// probe measures a process by the number that it has at the moment; a restart changes it.
type probe struct {
	name    string
	service bool
	tree    bool // its children count as well
	pid     func() int
}

// Driver is the name under which this process, which makes the load, is measured.
const Driver = "(driver)"

func self() probe { return probe{name: Driver, pid: os.Getpid} }

// probeOwn measures everything that was started here.
func (w *Target) probeOwn() {
	for _, name := range harness.Services() {
		w.probes = append(w.probes, probe{name: name, service: true, pid: w.system.Process(name, 0).PID})
	}
	w.probes = append(w.probes,
		probe{name: "analyzer", pid: w.system.Process(harness.Analyzer, 0).PID},
		probe{name: "nats", pid: func() int { return w.system.Stack.PID(stack.NATS) }},
		probe{name: "s3", pid: func() int { return w.system.Stack.PID(stack.S3) }},
		probe{name: "postgres", tree: true, pid: func() int { return w.system.Stack.PID(stack.Postgres) }},
		self())
}

// Use is what a process uses at one time.
type Use struct {
	Name    string
	Service bool // one of the four
	harness.Usage
}

// Uses measures all processes; those that cannot be are left out.
func (w *Target) Uses() []Use {
	var uses []Use
	for _, p := range w.probes {
		measure := harness.UsageOf
		if p.tree {
			measure = harness.TreeUsage
		}
		if u, err := measure(p.pid()); err == nil { // not on this system, or it has just ended
			uses = append(uses, Use{Name: p.name, Service: p.service, Usage: u})
		}
	}
	return uses
}

// Services measures the four services alone, which is quick enough to be done often.
func (w *Target) Services() []Use {
	var uses []Use
	for _, p := range w.probes {
		if u, err := harness.UsageOf(p.pid()); p.service && err == nil {
			uses = append(uses, Use{Name: p.name, Service: true, Usage: u})
		}
	}
	return uses
}

// Process is what a process used during a scenario.
type Process struct {
	Scenario   string  `json:"scenario"`
	Name       string  `json:"process"`
	Jobs       int     `json:"jobs"`
	CPU        float64 `json:"cpu_seconds"`
	Share      float64 `json:"cpu_share"` // of all processors' time
	RSSBefore  int64   `json:"rss_before,omitempty"`
	RSSAfter   int64   `json:"rss_after,omitempty"`
	PeakGrowth int64   `json:"peak_growth,omitempty"` // the peak above what it was before
}

// others is the name under which the work of all other processes of the machine is told: figures that were measured beside
// much of it are worth little.
const others = "(others)"

// Meter begins to measure a scenario. The function that it returns ends it and tells what every process has used for so many
// jobs; those that did nothing are left out.
func (w *Target) Meter(scenario string, processors int) func(jobs int) []Process {
	for _, p := range w.probes {
		if !p.tree {
			_ = harness.ResetPeak(p.pid()) // where it is refused, the peak is that of the whole life
		}
	}
	began, before := time.Now(), map[string]Use{}
	for _, u := range w.Uses() {
		before[u.Name] = u
	}
	busyBefore, busyErr := harness.Busy()
	return func(jobs int) []Process {
		took := time.Since(began).Seconds() * float64(processors)
		busy, err := harness.Busy()
		rest := (busy - busyBefore).Seconds()
		var used []Process
		for _, u := range w.Uses() {
			was, ok := before[u.Name]
			cpu := (u.CPU - was.CPU).Seconds()
			if !ok || cpu <= 0 {
				continue
			}
			rest -= cpu
			used = append(used, Process{
				Scenario: scenario, Name: u.Name, Jobs: jobs, CPU: cpu, Share: cpu / took,
				RSSBefore: was.RSS, RSSAfter: u.RSS, PeakGrowth: max(u.PeakRSS-was.RSS, 0),
			})
		}
		if w.system != nil && busyErr == nil && err == nil { // else what is measured is among the others
			used = append(used, Process{Scenario: scenario, Name: others, CPU: max(rest, 0), Share: max(rest, 0) / took})
		}
		return used
	}
}

package target

import (
	"os"
	"runtime"
	"time"

	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/stack"
)

// probe measures a process. It calls pid for each measurement, because a restart changes the process ID.
type probe struct {
	name    string
	service bool
	tree    bool // include the descendants
	pid     func() int
}

// Driver is the name in the report for this process, which generates the load.
const Driver = "(driver)"

func self() probe { return probe{name: Driver, pid: os.Getpid} }

// probeOwn adds probes of all processes that the benchmark has started, and of itself.
func (w *Target) probeOwn() {
	for _, name := range harness.Services() {
		w.probes = append(w.probes, probe{name: name, service: true, pid: w.system.Process(name, 0).PID})
	}
	w.probes = append(w.probes,
		probe{name: harness.Analyzer, tree: true, pid: w.system.Process(harness.Analyzer, 0).PID},
		probe{name: string(stack.NATS), pid: func() int { return w.system.Stack.PID(stack.NATS) }},
		probe{name: string(stack.S3), pid: func() int { return w.system.Stack.PID(stack.S3) }},
		probe{name: string(stack.Postgres), tree: true, pid: func() int { return w.system.Stack.PID(stack.Postgres) }},
		self())
}

// Use is the memory and CPU time of a process at one time.
type Use struct {
	Name    string
	Service bool // whether the process is one of the four services
	harness.Usage
}

// Uses measures all processes. It leaves out processes that cannot be measured.
func (w *Target) Uses() []Use {
	var uses []Use
	for _, p := range w.probes {
		measure := harness.UsageOf
		if p.tree {
			measure = harness.TreeUsage
		}
		if u, err := measure(p.pid()); err == nil { // an error means that the system is not Linux or the process has just ended
			uses = append(uses, Use{Name: p.name, Service: p.service, Usage: u})
		}
	}
	return uses
}

// Services measures only the four services, which is fast enough to be done often.
func (w *Target) Services() []Use {
	var uses []Use
	for _, p := range w.probes {
		if u, err := harness.UsageOf(p.pid()); p.service && err == nil {
			uses = append(uses, Use{Name: p.name, Service: true, Usage: u})
		}
	}
	return uses
}

// Process is the memory and CPU time of a process in a scenario.
type Process struct {
	Scenario   string  `json:"scenario"`
	Name       string  `json:"process"`
	Jobs       int     `json:"jobs"`
	CPU        float64 `json:"cpu_seconds"`
	Share      float64 `json:"cpu_share"` // fraction of the time of all processors
	RSSBefore  int64   `json:"rss_before,omitempty"`
	RSSAfter   int64   `json:"rss_after,omitempty"`
	PeakGrowth int64   `json:"peak_growth,omitempty"` // the peak RSS minus RSSBefore
}

// Others is the name in the report for all other processes of the machine. If they used much CPU time, the figures are not
// reliable.
const Others = "(others)"

// resetPeaks makes the present memory of each process its peak.
func (w *Target) resetPeaks() {
	for _, p := range w.probes {
		if !p.tree {
			_ = harness.ResetPeak(p.pid()) // without permission to reset the peak, it is the peak since the start of the process
		}
	}
}

// Meter starts to measure a scenario. The function that it returns ends the measurement and returns the memory and CPU time of
// every process, without the processes that used no CPU time. Its argument is the number of jobs of the scenario.
func (w *Target) Meter(scenario string) func(jobs int) []Process {
	w.resetPeaks()
	began, before := time.Now(), map[string]Use{}
	for _, u := range w.Uses() {
		before[u.Name] = u
	}
	busyBefore, busyErr := harness.Busy()
	return func(jobs int) []Process {
		took := time.Since(began).Seconds() * float64(runtime.NumCPU())
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
		if w.system != nil && busyErr == nil && err == nil { // without a System, the CPU time of Sori would count as that of other processes
			used = append(used, Process{Scenario: scenario, Name: Others, CPU: max(rest, 0), Share: max(rest, 0) / took})
		}
		return used
	}
}

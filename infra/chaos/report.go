package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"sori.internal/infra/internal/loadgen"
)

// report is the outcome of an experiment.
type report struct {
	seed      uint64
	jobs      int // number of jobs, without the jobs of the warm-up
	took      time.Duration
	injected  map[kind]int   // number of faults by kind
	callbacks map[action]int // number of callbacks with a fault, by kind of fault
	clients   map[loadgen.Action]int
	ends      map[string]int // number of all jobs by their status
	cached    int            // number of jobs that were completed with the result of another job

	verdicts []verdict
}

// verdict is the result of the check of one invariant.
type verdict struct {
	rule   loadgen.Rule
	wrongs []string
}

func (r *report) judge(rule loadgen.Rule, wrongs []string) {
	r.verdicts = append(r.verdicts, verdict{rule, wrongs})
}

// violated returns the number of invariants that do not hold.
func (r *report) violated() int {
	n := 0
	for _, v := range r.verdicts {
		if len(v.wrongs) > 0 {
			n++
		}
	}
	return n
}

// faults returns the number of injected faults.
func (r *report) faults() int {
	n := 0
	for _, times := range r.injected {
		n += times
	}
	return n
}

// shown is how many violations of one invariant are printed at most.
const shown = 5

// print writes the report as Markdown.
func (r *report) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	fmt.Fprintf(t, "\nseed %d: %d jobs, %d faults, %v\n\n", r.seed, r.jobs, r.faults(), r.took.Round(time.Second))
	fmt.Fprint(t, "| fault\t| times\t| done to\t|\n|---\t|---\t|---\t|\n")
	for _, kind := range kinds() {
		fmt.Fprintf(t, "| %s\t| %d\t| %s\t|\n", kind, r.injected[kind], r.doneTo(kind))
	}
	fmt.Fprintf(t, "\njobs: %s, %d with a cached result; clients: %s\n\n", list(r.ends), r.cached, list(r.clients))
	fmt.Fprint(t, "| invariant\t| holds\t|\n|---\t|---\t|\n")
	for _, v := range r.verdicts {
		fmt.Fprintf(t, "| %s\t| %s\t|\n", v.rule, v.text())
	}
	for _, v := range r.verdicts {
		for _, wrong := range v.wrongs[:min(shown, len(v.wrongs))] {
			fmt.Fprintf(t, "\n%s: %s", v.rule, wrong)
		}
	}
	fmt.Fprintln(t)
	return t.Flush()
}

// doneTo returns how many callbacks, uploads or streams the faults of a kind affected.
func (r *report) doneTo(kind kind) string {
	switch {
	case kind.target == callbacks:
		return fmt.Sprintf("%d callbacks", r.callbacks[kind.action])
	case kind.action == cutBodies:
		return fmt.Sprintf("%d uploads", r.clients[loadgen.CutBody])
	case kind.action == cutStreams:
		return fmt.Sprintf("%d streams", r.clients[loadgen.CutStream])
	default:
		return ""
	}
}

func (v verdict) text() string {
	if len(v.wrongs) == 0 {
		return "yes"
	}
	return fmt.Sprintf("NO (%d)", len(v.wrongs))
}

// list formats counts, as in "3 this, 4 that".
func list[K ~string](counts map[K]int) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[k], k))
	}
	return strings.Join(parts, ", ")
}

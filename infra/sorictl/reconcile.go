package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sori.internal/infra/internal/tail"
	"sori.internal/shared/bus"
)

// report is the outcome of a reconciliation.
type report struct {
	Jobs        int          `json:"jobs"`
	Lag         uint64       `json:"lag"`          // events that the tracker has not recorded yet
	DeadLetters int          `json:"dead_letters"` // a dead letter may be the cause of a finding
	Counts      map[kind]int `json:"counts"`       // number of findings by kind
	Findings    []finding    `json:"findings"`
	Replayed    int          `json:"replayed"` // number of events replayed by -repair
}

func reportOn(s *survey) report {
	r := report{Jobs: len(s.jobs), Lag: s.lag, DeadLetters: s.letters, Counts: map[kind]int{}, Findings: s.findings()}
	for _, k := range kinds() {
		r.Counts[k] = 0
	}
	for _, f := range r.Findings {
		r.Counts[f.Kind]++
	}
	return r
}

type reconcileCommand struct {
	Repair  bool   `help:"replay to the tracker the events that records lack"`
	JSON    bool   `name:"json" help:"print the report as one JSON object"`
	Metrics string `placeholder:"FILE" help:"write the counts to this file, for the textfile collector of Prometheus' node exporter"`
	Wait    period `default:"30s" help:"the time limit for the replay of each event"`
}

// Run compares the job log with the records and the bucket. With -repair it replays events to the tracker,
// to record what the records lack, and compares again. Remaining findings are an error, so that a timer
// job can raise an alarm.
func (c *reconcileCommand) Run(ctx context.Context, t terminal) error {
	lookup, err := t.settings()
	if err != nil {
		return err
	}
	table, err := openRows(lookup)
	if err != nil {
		return err
	}
	defer table.db.Close()
	bucket, err := openObjects(lookup)
	if err != nil {
		return err
	}
	return t.withBus(ctx, func(b *bus.Bus) error {
		s, err := take(ctx, b, table, bucket)
		if err != nil {
			return err
		}
		r := reportOn(s)
		if c.Repair && mendable(r.Findings) > 0 {
			if !c.JSON {
				t.tellPlan(s, r)
			}
			replayed := t.repair(ctx, b, s, r.Findings, c.Wait.duration())
			if s, err = take(ctx, b, table, bucket); err != nil {
				return err
			}
			r = reportOn(s)
			r.Replayed = replayed
		}
		return t.conclude(s, r, c.JSON, c.Metrics)
	})
}

func mendable(found []finding) (n int) {
	for _, f := range found {
		if f.Kind.mendable() {
			n++
		}
	}
	return n
}

func (t terminal) tellPlan(s *survey, r report) {
	events := 0
	for _, f := range r.Findings {
		if f.Kind.mendable() {
			events += len(s.jobs[f.Job].states)
		}
	}
	t.tellFindings(r.Findings)
	fmt.Fprintf(t.out, "\nreplaying %d events of %d jobs to %s\n\n", events, mendable(r.Findings), projection)
}

// repair replays every state event of the jobs whose records differ to the tracker, and
// returns the number of events that it has replayed. Recording an event twice changes
// nothing, so repair need not find out which events a record lacks.
func (t terminal) repair(ctx context.Context, b *bus.Bus, s *survey, found []finding, wait time.Duration) (replayed int) {
	for _, f := range found {
		if !f.Kind.mendable() {
			continue
		}
		for _, e := range s.jobs[f.Job].states {
			if ctx.Err() != nil {
				return replayed
			}
			one, cancel := context.WithTimeout(ctx, wait)
			err := b.Replay(one, projection, e.seq)
			cancel()
			if err != nil {
				fmt.Fprintf(t.errs, "%s: %s, %d: %s\n", f.Job, e.name, e.seq, said(err))
				continue
			}
			replayed++
		}
	}
	return replayed
}

func (t terminal) tellFindings(found []finding) {
	if len(found) == 0 {
		return
	}
	table := t.table()
	for _, f := range found {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", f.Kind, f.Job, tail.Clean(f.Detail), ownedBy(f.Owner))
	}
	_ = table.Flush() // the error is ignored: the output is closed
}

// conclude writes the report as text or JSON, and the metrics. It returns an error if there are findings.
func (t terminal) conclude(s *survey, r report, asJSON bool, metrics string) error {
	if metrics != "" {
		if err := writeMetrics(metrics, r); err != nil {
			return err
		}
	}
	if asJSON {
		if err := json.NewEncoder(t.out).Encode(r); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	} else {
		t.tellFindings(r.Findings)
		fmt.Fprintf(t.out, "%d jobs compared: %d findings, %d of them repairable with -repair; %d events replayed\n",
			r.Jobs, len(r.Findings), mendable(r.Findings), r.Replayed)
		fmt.Fprintf(t.out, "%d events are not recorded yet, %d dead letters\n", r.Lag, r.DeadLetters)
		if s.missing {
			fmt.Fprintf(t.out, "there is no consumer %s: no tracker has run here, so records cannot be compared\n", projection)
		}
	}
	if len(r.Findings) > 0 {
		return fmt.Errorf("%d findings", len(r.Findings))
	}
	return nil
}

// writeMetrics writes the counts in Prometheus' text format. It replaces the file atomically.
func writeMetrics(file string, r report) error {
	registry := prometheus.NewRegistry()
	gauge := func(name, help string, labels prometheus.Labels, value float64) {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels})
		g.Set(value)
		registry.MustRegister(g)
	}
	for _, k := range kinds() {
		gauge("sori_reconcile_findings", "differences between log, records and bucket, by kind",
			prometheus.Labels{"kind": string(k)}, float64(r.Counts[k]))
	}
	gauge("sori_reconcile_jobs", "jobs that were compared", nil, float64(r.Jobs))
	gauge("sori_dead_letters", "dead letters that are kept", nil, float64(r.DeadLetters))
	gauge("sori_reconcile_time_seconds", "when this was counted", nil, float64(time.Now().Unix()))
	if err := prometheus.WriteToTextfile(file, registry); err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	return nil
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/invariants"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/shared/event"
	"sori.internal/shared/joblog"
)

// The names of the invariants that this program checks. Clients check further invariants (package loadgen).
const (
	finishes  loadgen.Rule = "every job ends, its client sees the end, and no event is left to be handled"
	agreement loadgen.Rule = "every accepted job ends exactly once, and log, row and object agree"
	unknown   loadgen.Rule = "every job is known to a client, or belongs to a request without a response"
	whole     loadgen.Rule = "the recording of a job is the one that its client sent"
	seenEnds  loadgen.Rule = "the terminal status that a client saw is the recorded one"
	drops     loadgen.Rule = "progress goes back only with a new attempt"
	outcomes  loadgen.Rule = "a job that no client canceled or erased is completed"
	cached    loadgen.Rule = "a cached result belongs to the same recording and owner, and not to an erased job"
	staging   loadgen.Rule = "staging is empty"
	uploads   loadgen.Rule = "nothing is left of uploads that were not completed"
	sharing   loadgen.Rule = "no job waits for the analysis of another one, and no result of an erased job is cached"
	dead      loadgen.Rule = "there are no dead letters"
	survivors loadgen.Rule = "no process exited by itself or panicked"
	remains   loadgen.Rule = "no goroutine, file or connection is left over"
)

// settleIn is how long the remaining work may take after all faults are over.
const settleIn = 3 * time.Minute

// judge waits until no work is under way, checks every invariant, and returns the report.
func (o *experiment) judge(ctx context.Context) report {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*settleIn)
	defer cancel()
	ledger := o.clients.Ledger()
	r := report{seed: o.opt.Seed, jobs: o.opt.Jobs, injected: o.injected, callbacks: o.proxy.faults(), clients: ledger.Counts()}
	o.opt.Say("all faults are over, waiting until no work is in progress")
	for _, rule := range []loadgen.Rule{loadgen.Answers, loadgen.Versions, loadgen.Durable} {
		r.judge(rule, ledger.Violations(rule))
	}
	ends, promises := ledger.Ends(), ledger.Promises()
	if _, err := o.settle(ctx, ends); err != nil {
		r.judge(finishes, texts(err))
		return r
	}
	o.clients.Close()
	wrong, err := o.leftOver(ctx) // before the sweeps, which restart services
	r.judge(remains, append(wrong, texts(err)...))
	rows, err := o.sweep(ctx, &r, ends)
	r.judge(finishes, texts(err))
	if err != nil {
		return r
	}
	r.ends = count(rows)
	r.judge(agreement, texts(o.checker.Check(ctx, slices.Sorted(maps.Keys(ends)), rows)))
	r.judge(seenEnds, compare(ends, rows))
	r.judge(loadgen.Owners, append(ledger.Violations(loadgen.Owners), misattributed(promises, rows)...))
	wrong, err = o.unexplained(ctx, ledger.Drops())
	r.judge(drops, append(wrong, texts(err)...))
	o.judgeLogs(ctx, &r, rows)
	r.judge(dead, texts(o.checker.NoDeadLetters(ctx)))
	r.judge(survivors, o.deaths())
	return r
}

// sweep checks that the sweeps of the services have removed what interrupted uploads left behind, and returns the rows: a
// sweep may begin the job of an upload whose bytes have all arrived.
func (o *experiment) sweep(ctx context.Context, r *report, ends map[string]string) (map[string]invariants.Row, error) {
	uploader := o.sori.Process(harness.Uploader, 0)
	r.judge(uploads, texts(o.checker.AwaitNoUploads(ctx, uploader, o.opt.Sweep)))
	r.judge(staging, texts(o.checker.AwaitStagingEmpty(ctx, uploader)))
	rows, err := o.settle(ctx, ends)
	if err != nil {
		return nil, err
	}
	r.judge(sharing, texts(errors.Join(
		o.checker.AwaitNoneShared(ctx, o.sori.Process(harness.Dispatcher, 0), o.opt.Sweep),
		o.checker.NoResults(ctx, erased(rows)),
	)))
	return rows, nil
}

// judgeLogs checks the invariants that need the logs of the jobs.
func (o *experiment) judgeLogs(ctx context.Context, r *report, rows map[string]invariants.Row) {
	promises := o.clients.Ledger().Promises()
	logs, err := o.checker.Logs(ctx)
	strangers, unnoticed := unknownJobs(promises, o.clients.Ledger().Lost(), logs)
	r.judge(unknown, append(strangers, texts(err)...))
	r.judge(outcomes, uncompleted(rows, unnoticed))
	r.judge(whole, damaged(promises, logs))
	r.cached, err = invariants.CheckCached(logs)
	r.judge(cached, append(unwanted(promises, logs), texts(err)...))
}

// settle waits until every job has ended and all its events are handled, and returns the rows.
func (o *experiment) settle(ctx context.Context, ends map[string]string) (map[string]invariants.Row, error) {
	ctx, cancel := context.WithTimeout(ctx, settleIn)
	defer cancel()
	if _, err := o.checker.AwaitEnds(ctx, slices.Sorted(maps.Keys(ends))); err != nil {
		return nil, err
	}
	if err := invariants.Await(ctx, settleIn, func() error { return o.checker.Idle(ctx) }); err != nil {
		return nil, err
	}
	return o.checker.Rows(ctx)
}

// unknownJobs returns as wrong the jobs of which no client knows. It returns as unnoticed the jobs of uploads whose client got
// no answer: such a job has the name of a file in the parameter lost.
func unknownJobs(
	promises map[string]loadgen.Promise, lost map[string]bool, logs map[string][]invariants.Recorded,
) (wrong []string, unnoticed map[string]bool) {
	unnoticed = map[string]bool{}
	for job, log := range logs {
		received, _ := log[0].Event.(event.Received)
		if _, known := promises[job]; known {
			continue
		}
		if lost[received.FileName] {
			unnoticed[job] = true
		} else {
			wrong = append(wrong, "job "+job)
		}
	}
	return wrong, unnoticed
}

// damaged returns the jobs whose recording is not the one that their client sent.
func damaged(promises map[string]loadgen.Promise, logs map[string][]invariants.Recorded) []string {
	var wrong []string
	for job, log := range logs {
		for _, r := range log {
			stored, ok := r.Event.(event.Stored)
			if sent, known := promises[job]; ok && known && stored.SHA256 != sent.SHA256 {
				wrong = append(wrong, fmt.Sprintf("job %s has a recording with the SHA-256 %s, its client sent %s", job, stored.SHA256, sent.SHA256))
			}
		}
	}
	return wrong
}

// unwanted returns the jobs with a cached result whose client wanted a new analysis.
func unwanted(promises map[string]loadgen.Promise, logs map[string][]invariants.Recorded) []string {
	var wrong []string
	for job, log := range logs {
		for _, r := range log {
			if completed, ok := r.Event.(event.Completed); ok && completed.Cached && promises[job].Fresh {
				wrong = append(wrong, fmt.Sprintf("job %s has the result of job %s, its client wanted a new analysis", job, completed.CachedFrom))
			}
		}
	}
	return wrong
}

// erased returns the jobs that are erased.
func erased(rows map[string]invariants.Row) []string {
	var jobs []string
	for job, r := range rows {
		if r.Status == string(event.NameErased) {
			jobs = append(jobs, job)
		}
	}
	return jobs
}

// compare returns the jobs whose client saw no terminal status, or another terminal status than the row.
func compare(ends map[string]string, rows map[string]invariants.Row) []string {
	var wrong []string
	for job, seen := range ends {
		if rows[job].Status != seen {
			wrong = append(wrong, fmt.Sprintf("job %s is %s, its client saw %q", job, rows[job].Status, seen))
		}
	}
	return wrong
}

// misattributed returns the jobs whose owner, according to the row, is not the client that uploaded the recording.
func misattributed(promises map[string]loadgen.Promise, rows map[string]invariants.Row) []string {
	var wrong []string
	for job, p := range promises {
		if r, exists := rows[job]; exists && r.Owner != ownerName(p.Owner) {
			wrong = append(wrong, fmt.Sprintf("job %s of %s belongs to %q", job, ownerName(p.Owner), r.Owner))
		}
	}
	return wrong
}

// uncompleted returns the jobs that are neither completed nor canceled nor erased. Clients retry failed jobs, so none may stay
// failed, except jobs that no client has noticed.
func uncompleted(rows map[string]invariants.Row, unnoticed map[string]bool) []string {
	var wrong []string
	for job, r := range rows {
		if r.Status != "completed" && r.Status != "canceled" && r.Status != "erased" && !unnoticed[job] {
			wrong = append(wrong, fmt.Sprintf("job %s is %s", job, r.Status))
		}
	}
	return wrong
}

// unexplained returns the jobs whose progress went back more often than the job had attempts after the first one.
func (o *experiment) unexplained(ctx context.Context, drops map[string]int) ([]string, error) {
	var wrong []string
	for job, n := range drops {
		log, err := joblog.New(o.checker.Bus).Read(ctx, job)
		if err != nil {
			return nil, err
		}
		attempts := log.Attempt()
		if fetchedAgain(log) {
			attempts++ // the first fetch, which belongs to no attempt
		}
		if !log.Erased() && n > attempts-1 {
			wrong = append(wrong, fmt.Sprintf("job %s: progress went back %d times in %d attempts", job, n, attempts))
		}
	}
	return wrong, nil
}

// fetchedAgain reports whether the recording was fetched again for a retry. The log contains only the newest event retried.
func fetchedAgain(log event.Log) bool {
	stored, _ := event.Last[event.Stored](log)
	retried, _ := event.Last[event.Retried](log)
	return stored.Attempt > 0 || retried.Fetch
}

// deaths returns the processes that ended without having been stopped, and those whose log contains a panic or a data race.
func (o *experiment) deaths() []string {
	var wrong []string
	for left := true; left; {
		select {
		case err := <-o.sori.Exited():
			wrong = append(wrong, err.Error())
		default:
			left = false
		}
	}
	for _, name := range harness.Names() {
		for _, p := range o.sori.Processes(name) {
			text, err := os.ReadFile(p.Log())
			if err != nil {
				wrong = append(wrong, err.Error())
			}
			for _, sign := range []string{"panic", "DATA RACE"} {
				if n := bytes.Count(text, []byte(sign)); n > 0 {
					wrong = append(wrong, fmt.Sprintf("%s logged %q %d times (%s)", p.Name(), sign, n, p.Log()))
				}
			}
		}
	}
	return wrong
}

func count(rows map[string]invariants.Row) map[string]int {
	n := map[string]int{}
	for _, r := range rows {
		n[r.Status]++
	}
	return n
}

func texts(err error) []string {
	if err == nil {
		return nil
	}
	return []string{err.Error()}
}

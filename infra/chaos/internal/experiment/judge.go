package experiment

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sort"
	"time"

	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/invariants"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/shared/joblog"
)

// The invariants, besides those that clients check themselves (package loadgen).
const (
	finishes  loadgen.Rule = "every job ends and its client sees it end, and nothing is left to be handled"
	agreement loadgen.Rule = "every accepted job ends exactly once, and log, row and object agree"
	unknown   loadgen.Rule = "every job is one that a client was told of"
	seenEnds  loadgen.Rule = "the end that a client saw is the end that is recorded"
	drops     loadgen.Rule = "progress goes back with a new attempt only"
	outcomes  loadgen.Rule = "a job that nobody canceled or erased is completed"
	staging   loadgen.Rule = "staging is empty"
	dead      loadgen.Rule = "there are no dead letters"
	survivors loadgen.Rule = "no process ended by itself or panicked"
	remains   loadgen.Rule = "no goroutine, file or connection is left over"
)

// settleIn is how long the remaining work may take after all faults are over.
const settleIn = 3 * time.Minute

// judge waits until no work is under way, checks every invariant, and returns the report.
func (o *Experiment) judge(ctx context.Context) Report {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*settleIn)
	defer cancel()
	ledger := o.clients.Ledger()
	r := Report{Seed: o.opt.Seed, Jobs: o.opt.Jobs, Injected: o.Injected(), Callbacks: o.proxy.Faults(), Clients: ledger.Counts()}
	o.opt.Say("all faults are over, waiting until nothing is under way")
	for _, rule := range []loadgen.Rule{loadgen.Answers, loadgen.Versions} {
		r.judge(rule, ledger.Violations(rule))
	}
	ends := ledger.Ends()
	rows, err := o.settle(ctx, ends)
	r.judge(finishes, texts(err))
	if err != nil {
		return r
	}
	r.Ends = count(rows)
	r.judge(agreement, texts(o.checker.Check(ctx, keys(ends), rows)))
	r.judge(unknown, unknownJobs(ends, rows))
	r.judge(seenEnds, compare(ends, rows))
	r.judge(outcomes, uncompleted(rows))
	r.judge(loadgen.Owners, append(ledger.Violations(loadgen.Owners), misattributed(ledger.Owners(), rows)...))
	wrong, err := o.unexplained(ctx, ledger.Drops())
	r.judge(drops, append(wrong, texts(err)...))
	r.judge(dead, texts(o.checker.NoDeadLetters(ctx)))
	o.clients.Close()
	wrong, err = o.leftOver(ctx)
	r.judge(remains, append(wrong, texts(err)...))
	r.judge(staging, texts(o.checker.AwaitStagingEmpty(ctx, o.sori.Process(harness.Uploader, 0))))
	r.judge(survivors, o.deaths())
	return r
}

// settle waits until every job has ended and all its events are handled, and returns the rows.
func (o *Experiment) settle(ctx context.Context, ends map[string]string) (map[string]invariants.Row, error) {
	ctx, cancel := context.WithTimeout(ctx, settleIn)
	defer cancel()
	if _, err := o.checker.AwaitEnds(ctx, keys(ends)); err != nil {
		return nil, err
	}
	if err := invariants.Await(ctx, settleIn, func() error { return o.checker.Idle(ctx) }); err != nil {
		return nil, err
	}
	return o.checker.Rows(ctx)
}

// unknownJobs returns the jobs with a row that were not accepted to any client.
func unknownJobs(ends map[string]string, rows map[string]invariants.Row) []string {
	var wrong []string
	for job := range rows {
		if _, ok := ends[job]; !ok {
			wrong = append(wrong, "job "+job)
		}
	}
	return wrong
}

// compare returns the jobs whose client saw another terminal status than that of the row, or none.
func compare(ends map[string]string, rows map[string]invariants.Row) []string {
	var wrong []string
	for job, seen := range ends {
		if rows[job].Status != seen {
			wrong = append(wrong, fmt.Sprintf("job %s is %s, its client saw %q", job, rows[job].Status, seen))
		}
	}
	return wrong
}

// misattributed returns the jobs whose row names another owner than the client who uploaded the recording.
func misattributed(owners map[string]int, rows map[string]invariants.Row) []string {
	var wrong []string
	for job, i := range owners {
		if r, exists := rows[job]; exists && r.Owner != ownerName(i) {
			wrong = append(wrong, fmt.Sprintf("job %s of %s belongs to %q", job, ownerName(i), r.Owner))
		}
	}
	return wrong
}

// uncompleted returns the jobs that are neither completed nor canceled nor erased. Clients retry failed jobs, so none may stay
// failed.
func uncompleted(rows map[string]invariants.Row) []string {
	var wrong []string
	for job, r := range rows {
		if r.Status != "completed" && r.Status != "canceled" && r.Status != "erased" {
			wrong = append(wrong, fmt.Sprintf("job %s is %s", job, r.Status))
		}
	}
	return wrong
}

// unexplained returns the jobs whose progress went back more often than the job had attempts after the first one.
func (o *Experiment) unexplained(ctx context.Context, drops map[string]int) ([]string, error) {
	var wrong []string
	for job, n := range drops {
		log, err := joblog.New(o.checker.Bus).Read(ctx, job)
		if err != nil {
			return nil, err
		}
		if !log.Erased() && n > log.Attempt()-1 {
			wrong = append(wrong, fmt.Sprintf("job %s: progress went back %d times in %d attempts", job, n, log.Attempt()))
		}
	}
	return wrong, nil
}

// deaths returns the processes that ended without having been stopped, and those whose log contains a panic or a data race.
func (o *Experiment) deaths() []string {
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

func keys(ends map[string]string) []string {
	jobs := make([]string, 0, len(ends))
	for job := range ends {
		jobs = append(jobs, job)
	}
	sort.Strings(jobs)
	return jobs
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

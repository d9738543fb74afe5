package ordeal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sort"
	"time"

	"sori.internal/infra/chaos/internal/customer"
	"sori.internal/infra/internal/audit"
	"sori.internal/infra/internal/fleet"
	"sori.internal/shared/event"
)

// The invariants: what must hold whatever went wrong. Those that customers see broken are theirs (package customer).
const (
	finishes  customer.Rule = "every job comes to its end in its customer's sight, and nothing is left to be handled"
	agreement customer.Rule = "every accepted job ends exactly once, and log, row and object agree"
	strangers customer.Rule = "no job exists that nobody was told of"
	farewells customer.Rule = "the end that a customer saw is the end that is recorded"
	falls     customer.Rule = "progress falls with a new attempt only"
	outcomes  customer.Rule = "a job that nobody canceled or erased is completed"
	staging   customer.Rule = "staging is empty"
	dead      customer.Rule = "no event was given up"
	survivors customer.Rule = "no process ended by itself or panicked"
	remains   customer.Rule = "no goroutine, file or connection is left over"
)

// settleIn bounds how long what is still under way may take when all faults are over.
const settleIn = 3 * time.Minute

// judge asks for every invariant once everything has come to rest.
func (o *Ordeal) judge(ctx context.Context) Report {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*settleIn)
	defer cancel()
	ledger := o.crowd.Ledger()
	r := Report{Seed: o.opt.Seed, Jobs: o.opt.Jobs, Happened: o.Happened(), Callbacks: o.courier.Harmed(), Customers: ledger.Counts()}
	o.opt.Say("all faults are over, everything comes to rest")
	for _, rule := range []customer.Rule{customer.Answers, customer.Versions} {
		r.judge(rule, ledger.Wrongs(rule))
	}
	ends := ledger.Ends()
	rows, err := o.settle(ctx, ends)
	r.judge(finishes, texts(err))
	if err != nil {
		return r
	}
	r.Ends = count(rows)
	r.judge(agreement, texts(o.books.Check(ctx, keys(ends), rows)))
	r.judge(strangers, unknown(ends, rows))
	r.judge(farewells, compare(ends, rows))
	r.judge(outcomes, uncompleted(rows))
	wrong, err := o.unexplained(ctx, ledger.Falls())
	r.judge(falls, append(wrong, texts(err)...))
	r.judge(dead, texts(o.noneDead(ctx)))
	o.crowd.Leave()
	wrong, err = o.leftOver(ctx)
	r.judge(remains, append(wrong, texts(err)...))
	r.judge(staging, texts(o.stagingEmpties(ctx)))
	r.judge(survivors, o.deaths())

	return r
}

// settle waits until every job has ended and everything that was said of it is handled.
func (o *Ordeal) settle(ctx context.Context, ends map[string]string) (map[string]audit.Row, error) {
	ctx, cancel := context.WithTimeout(ctx, settleIn)
	defer cancel()
	if _, err := o.books.AwaitEnds(ctx, keys(ends)); err != nil {
		return nil, err
	}
	if err := o.awaitIdle(ctx); err != nil {
		return nil, err
	}

	return o.books.Rows(ctx)
}

// unknown are the jobs that no customer was told of.
func unknown(ends map[string]string, rows map[string]audit.Row) []string {
	var wrong []string
	for job := range rows {
		if _, ok := ends[job]; !ok {
			wrong = append(wrong, "job "+job)
		}
	}

	return wrong
}

// compare finds the jobs whose customers saw another end than the last, or none.
func compare(ends map[string]string, rows map[string]audit.Row) []string {
	var wrong []string
	for job, seen := range ends {
		if rows[job].Status != seen {
			wrong = append(wrong, fmt.Sprintf("job %s is %s, its customer saw %q", job, rows[job].Status, seen))
		}
	}

	return wrong
}

// uncompleted are the jobs that ended in a way that no customer wanted: what failed was tried again.
func uncompleted(rows map[string]audit.Row) []string {
	var wrong []string
	for job, r := range rows {
		if r.Status != "completed" && r.Status != "canceled" && r.Status != "erased" {
			wrong = append(wrong, fmt.Sprintf("job %s is %s", job, r.Status))
		}
	}

	return wrong
}

// unexplained are the jobs whose progress was seen to fall more often than they were attempted anew.
func (o *Ordeal) unexplained(ctx context.Context, falls map[string]int) ([]string, error) {
	var wrong []string
	for job, n := range falls {
		log, err := o.books.Bus.Log(ctx, job)
		if err != nil {
			return nil, err
		}
		if !log.Erased() && n > log.Attempt()-1 {
			wrong = append(wrong, fmt.Sprintf("job %s: progress fell %d times in %d attempts", job, n, log.Attempt()))
		}
	}

	return wrong, nil
}

func (o *Ordeal) noneDead(ctx context.Context) error {
	stream, err := o.books.JetStream.Stream(ctx, event.Dead().Name)
	if err != nil {
		return fmt.Errorf("look for dead letters: %w", err)
	}
	if n := stream.CachedInfo().State.Msgs; n > 0 {
		return fmt.Errorf("%d dead letters", n)
	}

	return nil
}

// awaitIdle waits until every consumer has handled all that there is.
func (o *Ordeal) awaitIdle(ctx context.Context) error {
	return await(ctx, settleIn, func() error {
		stream, err := o.books.JetStream.Stream(ctx, event.Jobs().Name)
		if err != nil {
			return fmt.Errorf("look at the consumers: %w", err)
		}
		var busy []error
		list := stream.ListConsumers(ctx)
		for info := range list.Info() {
			if left := info.NumPending + uint64(info.NumAckPending); left > 0 && info.Config.Durable != "" {
				busy = append(busy, fmt.Errorf("%s has %d events", info.Name, left))
			}
		}

		return errors.Join(append(busy, list.Err())...)
	})
}

// stagingEmpties sweeps, now that no upload is under way, and looks.
func (o *Ordeal) stagingEmpties(ctx context.Context) error {
	up := o.fleet.Process(fleet.Uploader, 0)
	up.Setenv("SWEEP_AGE", "1ms")
	up.Setenv("SWEEP_INTERVAL", "50ms")
	if err := up.Restart(ctx); err != nil {
		return err
	}

	return await(ctx, time.Minute, func() error {
		entries, err := o.books.Bus.StagedEntries(ctx)
		if err == nil && len(entries) > 0 {
			err = fmt.Errorf("staging holds %v", entries)
		}
		return err
	})
}

// deaths are the processes that ended without having been asked to, and those whose log tells of a panic or a race.
func (o *Ordeal) deaths() []string {
	var wrong []string
	for left := true; left; {
		select {
		case err := <-o.fleet.Exited():
			wrong = append(wrong, err.Error())
		default:
			left = false
		}
	}
	for _, name := range fleet.Names() {
		for _, p := range o.fleet.Processes(name) {
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

// await tries until there is no error, for so long.
func await(ctx context.Context, limit time.Duration, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(comeBack)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

func keys(ends map[string]string) []string {
	jobs := make([]string, 0, len(ends))
	for job := range ends {
		jobs = append(jobs, job)
	}
	sort.Strings(jobs)

	return jobs
}

func count(rows map[string]audit.Row) map[string]int {
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

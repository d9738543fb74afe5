package experiment

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	analyzer "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/stack"
	"sori.internal/shared/wait"
)

// together is how many faults are injected concurrently at most.
const together = 3

// injectFaults injects the faults of a plan. The parameter already is the number of jobs that were accepted before the
// plan. A fault is injected when Fault.After further jobs have been accepted, and when an earlier fault with the same
// victim is over.
func (o *Experiment) injectFaults(ctx context.Context, already int, faults []Fault) error {
	var group errgroup.Group
	group.SetLimit(together)
	victims := map[string]*sync.Mutex{}
	for _, f := range faults {
		if err := o.awaitAccepted(ctx, already+f.After); err != nil {
			return errors.Join(err, group.Wait())
		}
		if victims[f.Victim()] == nil {
			victims[f.Victim()] = &sync.Mutex{}
		}
		victim := victims[f.Victim()]
		group.Go(func() error {
			victim.Lock()
			defer victim.Unlock()
			if err := o.inject(ctx, f); err != nil {
				return fmt.Errorf("%s: %w", f, err)
			}
			o.mu.Lock()
			defer o.mu.Unlock()
			o.injected[f.Kind]++
			return nil
		})
	}
	return group.Wait()
}

func (o *Experiment) awaitAccepted(ctx context.Context, n int) error {
	for {
		accepted, more := o.clients.Ledger().Accepted()
		if accepted >= n {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return fmt.Errorf("wait for %d jobs: %w", n, context.Cause(ctx))
		}
	}
}

// inject injects one fault, and returns when it is over. If ctx ends before, inject ends the fault early.
func (o *Experiment) inject(ctx context.Context, f Fault) error {
	o.opt.Say("  %s", f)
	switch f.Target {
	case Callbacks:
		o.proxy.Inject(f.Action)
		_ = wait.For(ctx, f.Lasts)
		o.proxy.Inject("")
		return nil
	case Clients:
		o.injectIntoClients(ctx, f)
		return nil
	case string(stack.NATS), string(stack.S3), string(stack.Postgres):
		return o.injectIntoDependency(ctx, f, stack.Part(f.Target))
	default:
		return o.injectIntoProcess(ctx, f, o.sori.Process(f.Target, f.Replica))
	}
}

func (o *Experiment) injectIntoClients(ctx context.Context, f Fault) {
	if f.Action == CutStreams {
		o.clients.CutStreams()
		return
	}
	o.clients.CutBodies(true)
	_ = wait.For(ctx, f.Lasts)
	o.clients.CutBodies(false)
}

func (o *Experiment) injectIntoProcess(ctx context.Context, f Fault, p *harness.Process) error {
	switch f.Action {
	case Kill:
		p.Kill() //nolint:contextcheck // Kill has no context, since a SIGKILL takes effect at once
		_ = wait.For(ctx, f.Lasts)
		return p.Start(ctx)
	case Pause:
		if err := p.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		_ = wait.For(ctx, f.Lasts)
		return p.Signal(syscall.SIGCONT)
	case Restart:
		return p.Restart(ctx)
	default:
		return o.behave(ctx, f)
	}
}

func (o *Experiment) injectIntoDependency(ctx context.Context, f Fault, part stack.Part) error {
	switch f.Action {
	case Kill:
		if err := o.sori.Stack.Signal(part, syscall.SIGKILL); err != nil {
			return err
		}
		<-o.sori.Stack.Exited() //nolint:errcheck // the error only reports the kill
		_ = wait.For(ctx, f.Lasts)
		return o.restart(ctx, part)
	case Pause:
		if err := o.sori.Stack.PauseAll(part); err != nil {
			return err
		}
		_ = wait.For(ctx, f.Lasts)
		return o.sori.Stack.ContinueAll(part)
	default:
		return o.restart(ctx, part)
	}
}

func (o *Experiment) restart(ctx context.Context, part stack.Part) error {
	o.restarting.Lock()
	defer o.restarting.Unlock()
	return o.sori.Stack.Restart(ctx, part)
}

// behave changes the behaviour of the analysis server for a while.
func (o *Experiment) behave(ctx context.Context, f Fault) error {
	usual := analyzer.Behaviour{Instant: true, Delay: analyzer.Duration(analysisTakes)}
	unusual := usual
	if f.Action == Refuse {
		unusual.RejectStatus, unusual.RejectRetryAfter = http.StatusServiceUnavailable, analyzer.Duration(time.Second)
	} else {
		unusual.Fail = true
	}
	if err := o.setBehaviour(ctx, unusual); err != nil {
		return err
	}
	_ = wait.For(ctx, f.Lasts)
	return o.setBehaviour(ctx, usual)
}

func (o *Experiment) setBehaviour(ctx context.Context, b analyzer.Behaviour) error {
	r, err := client.JSON(client.Request{Method: http.MethodPut, Path: "/behaviour"}, b)
	if err != nil {
		return err
	}
	_, err = (&client.Client{Base: o.sori.URL(harness.Analyzer)}).Do(ctx, r)
	return err
}

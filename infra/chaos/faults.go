package main

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
// plan. A fault is injected when fault.after further jobs have been accepted, and when an earlier fault with the same
// victim is over.
func (o *experiment) injectFaults(ctx context.Context, already int, faults []fault) error {
	var group errgroup.Group
	group.SetLimit(together)
	victims := map[string]*sync.Mutex{}
	for _, f := range faults {
		if err := o.awaitAccepted(ctx, already+f.after); err != nil {
			return errors.Join(err, group.Wait())
		}
		if victims[f.victim()] == nil {
			victims[f.victim()] = &sync.Mutex{}
		}
		victim := victims[f.victim()]
		group.Go(func() error {
			victim.Lock()
			defer victim.Unlock()
			if err := o.inject(ctx, f); err != nil {
				return fmt.Errorf("%s: %w", f, err)
			}
			o.mu.Lock()
			defer o.mu.Unlock()
			o.injected[f.kind]++
			return nil
		})
	}
	return group.Wait()
}

func (o *experiment) awaitAccepted(ctx context.Context, n int) error {
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
func (o *experiment) inject(ctx context.Context, f fault) error {
	o.opt.Say("  %s", f)
	switch f.target {
	case callbacks:
		o.proxy.inject(f.action)
		_ = wait.For(ctx, f.lasts)
		o.proxy.inject("")
		return nil
	case clients:
		o.injectIntoClients(ctx, f)
		return nil
	case string(stack.NATS), string(stack.S3), string(stack.Postgres):
		return o.injectIntoDependency(ctx, f, stack.Part(f.target))
	default:
		return o.injectIntoProcess(ctx, f, o.sori.Process(f.target, f.replica))
	}
}

func (o *experiment) injectIntoClients(ctx context.Context, f fault) {
	if f.action == cutStreams {
		o.clients.CutStreams()
		return
	}
	o.clients.CutBodies(true)
	_ = wait.For(ctx, f.lasts)
	o.clients.CutBodies(false)
}

func (o *experiment) injectIntoProcess(ctx context.Context, f fault, p *harness.Process) error {
	switch f.action {
	case kill:
		p.Kill() //nolint:contextcheck // Kill has no context, since a SIGKILL takes effect at once
		_ = wait.For(ctx, f.lasts)
		return p.Start(ctx)
	case pause:
		if err := p.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		_ = wait.For(ctx, f.lasts)
		return p.Signal(syscall.SIGCONT)
	case restart:
		return p.Restart(ctx)
	default:
		return o.behave(ctx, f)
	}
}

func (o *experiment) injectIntoDependency(ctx context.Context, f fault, part stack.Part) error {
	switch f.action {
	case kill:
		if err := o.sori.Stack.Signal(part, syscall.SIGKILL); err != nil {
			return err
		}
		<-o.sori.Stack.Exited() //nolint:errcheck // the error only reports the kill
		_ = wait.For(ctx, f.lasts)
		return o.restart(ctx, part)
	case pause:
		if err := o.sori.Stack.PauseAll(part); err != nil {
			return err
		}
		_ = wait.For(ctx, f.lasts)
		return o.sori.Stack.ContinueAll(part)
	default:
		return o.restart(ctx, part)
	}
}

func (o *experiment) restart(ctx context.Context, part stack.Part) error {
	o.restarting.Lock()
	defer o.restarting.Unlock()
	return o.sori.Stack.Restart(ctx, part)
}

// behave changes the behaviour of the analysis server for a while.
func (o *experiment) behave(ctx context.Context, f fault) error {
	usual := analyzer.Behaviour{Instant: true, Delay: analyzer.Duration(analysisTakes)}
	unusual := usual
	if f.action == refuse {
		unusual.RejectStatus, unusual.RejectRetryAfter = http.StatusServiceUnavailable, analyzer.Duration(time.Second)
	} else {
		unusual.Fail = true
	}
	if err := o.setBehaviour(ctx, unusual); err != nil {
		return err
	}
	_ = wait.For(ctx, f.lasts)
	return o.setBehaviour(ctx, usual)
}

func (o *experiment) setBehaviour(ctx context.Context, b analyzer.Behaviour) error {
	r, err := client.JSON(client.Request{Method: http.MethodPut, Path: "/behaviour"}, b)
	if err != nil {
		return err
	}
	_, err = (&client.Client{Base: o.sori.URL(harness.Analyzer)}).Do(ctx, r)
	return err
}

package ordeal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	analyzer "sori.internal/infra/analyzer/app"
	"sori.internal/infra/chaos/internal/plan"
	"sori.internal/infra/internal/fleet"
	"sori.internal/infra/internal/stack"
)

// together is how many faults there may be at once.
const together = 3

// inflict carries a plan out. A fault happens when enough jobs were accepted, on top of those that were there already, and
// waits for an earlier one with the same victim to be over.
func (o *Ordeal) inflict(ctx context.Context, already int, faults []plan.Fault) error {
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
			if err := o.harm(ctx, f); err != nil {
				return fmt.Errorf("%s: %w", f, err)
			}
			o.mu.Lock()
			defer o.mu.Unlock()
			o.happened[f.Kind]++
			return nil
		})
	}

	return group.Wait()
}

func (o *Ordeal) awaitAccepted(ctx context.Context, n int) error {
	for {
		accepted, more := o.crowd.Ledger().Accepted()
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

// harm lets one fault happen, and returns when it is over.
func (o *Ordeal) harm(ctx context.Context, f plan.Fault) error {
	o.opt.Say("  %s", f)
	switch f.Target {
	case plan.Callbacks:
		o.courier.Do(f.Action)
		lasting(ctx, f)
		o.courier.Do("")
		return nil
	case plan.Clients:
		o.bother(ctx, f)
		return nil
	case string(stack.NATS), string(stack.S3), string(stack.Postgres):
		return o.harmPart(ctx, f, stack.Part(f.Target))
	default:
		return o.harmProcess(ctx, f, o.fleet.Process(f.Target, f.Copy))
	}
}

// lasting returns when a fault has lasted long enough.
func lasting(ctx context.Context, f plan.Fault) {
	t := time.NewTimer(f.Lasts)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (o *Ordeal) bother(ctx context.Context, f plan.Fault) {
	if f.Action == plan.CutStreams {
		o.crowd.CutStreams()
		return
	}
	o.crowd.CutBodies(true)
	lasting(ctx, f)
	o.crowd.CutBodies(false)
}

func (o *Ordeal) harmProcess(ctx context.Context, f plan.Fault, p *fleet.Process) error {
	switch f.Action {
	case plan.Kill:
		p.Kill() //nolint:contextcheck // a kill is never too late
		lasting(ctx, f)
		return p.Start(ctx)
	case plan.Pause:
		if err := p.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		lasting(ctx, f)
		return p.Signal(syscall.SIGCONT)
	case plan.Restart:
		return p.Restart(ctx)
	default:
		return o.behave(ctx, f)
	}
}

func (o *Ordeal) harmPart(ctx context.Context, f plan.Fault, part stack.Part) error {
	switch f.Action {
	case plan.Kill:
		if err := o.stack.Signal(part, syscall.SIGKILL); err != nil {
			return err
		}
		<-o.stack.Exited() //nolint:errcheck // what the stack itself has noticed is why it is done
		lasting(ctx, f)
		return o.restart(ctx, part)
	case plan.Pause:
		if err := o.stack.SignalAll(part, syscall.SIGSTOP); err != nil {
			return err
		}
		lasting(ctx, f)
		return o.stack.SignalAll(part, syscall.SIGCONT)
	default:
		return o.restart(ctx, part)
	}
}

func (o *Ordeal) restart(ctx context.Context, part stack.Part) error {
	o.restarting.Lock()
	defer o.restarting.Unlock()

	return o.stack.Restart(ctx, part)
}

// behave lets the analysis server be another for a while.
func (o *Ordeal) behave(ctx context.Context, f plan.Fault) error {
	usual := analyzer.Behaviour{Instant: true, Delay: analyzer.Duration(analysisTakes)}
	unusual := usual
	if f.Action == plan.Refuse {
		unusual.RejectStatus, unusual.RejectRetryAfter = http.StatusServiceUnavailable, analyzer.Duration(time.Second)
	} else {
		unusual.Fail = true
	}
	if err := o.setBehaviour(ctx, unusual); err != nil {
		return err
	}
	lasting(ctx, f)

	return o.setBehaviour(ctx, usual)
}

func (o *Ordeal) setBehaviour(ctx context.Context, b analyzer.Behaviour) error {
	body, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("encode a behaviour: %w", err)
	}

	return call(ctx, http.MethodPut, o.fleet.URL(fleet.Analyzer)+"/behaviour", bytes.NewReader(body), nil)
}

// call does a request whose refusal is an error, and decodes what comes back where somebody wants it.
func call(ctx context.Context, method, url string, body io.Reader, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, url, err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, url, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, url, err)
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s: status %d: %s", method, url, resp.StatusCode, text)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s %s: %w", method, url, err)
	}

	return nil
}

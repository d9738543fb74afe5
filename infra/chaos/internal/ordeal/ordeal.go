// Package ordeal puts Sori through a plan of faults while customers use it, and then asks whether all that it promises was
// kept. Everything is started for it on this machine, the four services in two copies each, and thrown away afterwards.
package ordeal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/infra/chaos/internal/courier"
	"sori.internal/infra/chaos/internal/customer"
	"sori.internal/infra/chaos/internal/plan"
	"sori.internal/infra/internal/audit"
	"sori.internal/infra/internal/fleet"
	"sori.internal/infra/internal/stack"
)

// Options say how hard it is.
type Options struct {
	Seed      uint64
	Jobs      int
	Faults    int
	Customers int
	Race      bool          // services built with the race detector
	Patience  time.Duration // for everything to come to its end
	Linger    time.Duration // for idle connections to be let go

	Dir string // gets data and logs; must not exist, and is left
	Say func(format string, args ...any)
}

// Ordeal is one under way.
type Ordeal struct {
	opt     Options
	stack   *stack.Stack
	fleet   *fleet.Fleet
	courier *courier.Courier
	crowd   *customer.Crowd
	books   audit.Books

	closeBooks func() error

	restarting sync.Mutex // of the stack's parts, one at a time
	mu         sync.Mutex
	happened   map[plan.Kind]int
	before     leftovers
}

func newOrdeal(opt Options) *Ordeal { return &Ordeal{opt: opt, happened: map[plan.Kind]int{}} }

// Run goes through it all. An error means that it could not be gone through; what was found broken is in the report.
func Run(ctx context.Context, opt Options) (report Report, err error) {
	ctx, cancel := context.WithTimeout(ctx, opt.Patience)
	defer cancel()
	o := newOrdeal(opt)
	began := time.Now()
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, o.close(closing))
	}()
	if err := o.open(ctx); err != nil {
		return Report{}, err
	}
	if err := o.warmUp(ctx); err != nil {
		return Report{}, err
	}
	suffering := o.suffer(ctx)
	report = o.judge(ctx)
	report.Took = time.Since(began)
	if suffering != nil {
		report.fail(finishes, suffering.Error())
	}

	return report, nil
}

// open starts everything.
func (o *Ordeal) open(ctx context.Context) (err error) {
	if err := os.Mkdir(o.opt.Dir, 0o711); err != nil { // PostgreSQL passes through as a user of its own
		return fmt.Errorf("make a folder: %w", err)
	}
	o.opt.Say("building and starting everything in %s", o.opt.Dir)
	programs := filepath.Join(o.opt.Dir, "programs")
	if err := fleet.Build(ctx, programs, fleet.BuildOptions{Race: o.opt.Race}); err != nil {
		return err
	}
	o.stack, err = stack.Start(ctx, stack.Options{
		Dir: filepath.Join(o.opt.Dir, "stack"), Fast: true, Log: zerolog.Nop(),
	})
	if err != nil {
		return err
	}
	if o.courier, err = courier.Open(ctx, o.opt.Seed); err != nil {
		return err
	}
	copies := map[string]int{}
	for _, name := range plan.Services() {
		copies[name] = plan.Copies
	}
	o.fleet, err = fleet.Start(ctx, fleet.Options{
		Dir: filepath.Join(o.opt.Dir, "logs"), Programs: programs, Deps: o.stack.Endpoints, Copies: copies, Env: o.settings(),
	})
	if err != nil {
		return err
	}
	o.courier.Serve(o.urls(fleet.Dispatcher))
	if o.books, o.closeBooks, err = audit.Open(o.stack.Endpoints, nil); err != nil {
		return err
	}
	token, err := o.makeToken(ctx)
	if err != nil {
		return err
	}
	o.crowd = customer.Gather(customer.Options{
		Gateways: o.urls(fleet.Gateway), Token: token, Seed: o.opt.Seed, AtOnce: o.opt.Customers,
	})

	return nil
}

// settings make the times short that an ordeal would otherwise wait for.
func (o *Ordeal) settings() map[string]map[string]string {
	return map[string]map[string]string{
		fleet.Dispatcher: {
			"WEBHOOK_URL":              o.courier.URL + "/tokens/webhook/analysis-complete",
			"ANALYSIS_REQUEST_TIMEOUT": "5s", "ANALYSIS_POLL_INTERVAL": "1s", "ANALYSIS_BREAKER_DELAY": "1s",
			"ANALYSIS_MAX_ATTEMPTS": "1000", // an analysis that no fault lets come to an end is no failure here
		},
		fleet.Tracker: {
			"ANALYSIS_DEADLINE_MIN": "5s", "ANALYSIS_DEADLINE_MAX": "10s", "DEADLINE_SWEEP_INTERVAL": "1s", "SSE_HEARTBEAT": "2s",
		},
		fleet.Analyzer: {
			"BEHAVIOUR_INSTANT": "true", "BEHAVIOUR_DELAY": analysisTakes.String(),
			"WEBHOOK_ATTEMPTS": "1000", "WEBHOOK_MAX_BACKOFF": "2s",
		},
	}
}

// analysisTakes is long enough for progress to be told meanwhile.
const analysisTakes = 500 * time.Millisecond

func (o *Ordeal) urls(name string) []string {
	var urls []string
	for _, p := range o.fleet.Processes(name) {
		urls = append(urls, p.URL())
	}

	return urls
}

// comeBack is the pause between two looks at what is not there yet.
const comeBack = 100 * time.Millisecond

func (o *Ordeal) makeToken(ctx context.Context) (id int64, err error) {
	const body = `{"token_name":"sample","actor_name":"sori","start_time":0,"end_time":10}`
	var token struct {
		ID int64 `json:"id"`
	}
	err = call(ctx, http.MethodPost, o.fleet.URL(fleet.Gateway)+"/tokens/", strings.NewReader(body), &token)

	return token.ID, err
}

// warmUp lets everybody make the connections and buffers that a crowd of this size takes, so that what is there afterwards
// can be compared.
func (o *Ordeal) warmUp(ctx context.Context) error {
	n := 2 * o.opt.Customers
	o.opt.Say("warming up with %d jobs", n)
	if err := o.crowd.Run(ctx, o.opt.Jobs, n); err != nil {
		return fmt.Errorf("warm up: %w", err)
	}
	var err error
	o.before, err = o.leftovers(ctx)

	return err
}

// suffer has the customers' jobs done while the plan is carried out.
func (o *Ordeal) suffer(ctx context.Context) error {
	o.opt.Say("%d jobs, %d faults, seed %d", o.opt.Jobs, o.opt.Faults, o.opt.Seed)
	already, _ := o.crowd.Ledger().Accepted()
	harmed := make(chan error, 1)
	go func() { harmed <- o.inflict(ctx, already, plan.Draw(o.opt.Seed, o.opt.Jobs, o.opt.Faults)) }()
	served := o.crowd.Run(ctx, 0, o.opt.Jobs)

	return errors.Join(served, <-harmed)
}

// Happened tells how often which kind of fault happened.
func (o *Ordeal) Happened() map[plan.Kind]int {
	o.mu.Lock()
	defer o.mu.Unlock()

	return maps.Clone(o.happened)
}

// close stops everything. What was never started is nil.
func (o *Ordeal) close(ctx context.Context) error {
	var errs []error
	if o.crowd != nil {
		o.crowd.Leave()
	}
	if o.courier != nil {
		errs = append(errs, o.courier.Close(ctx))
	}
	if o.fleet != nil {
		errs = append(errs, o.fleet.Stop(ctx))
	}
	if o.closeBooks != nil {
		errs = append(errs, o.closeBooks())
	}
	if o.stack != nil {
		errs = append(errs, o.stack.Stop(ctx))
	}

	return errors.Join(errs...)
}

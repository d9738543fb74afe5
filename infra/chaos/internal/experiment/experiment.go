// Package experiment runs a fault injection experiment: it starts Sori, injects planned faults while
// clients use it, and then checks every invariant.
package experiment

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/infra/internal/apikey"
	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/invariants"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/infra/internal/stack"
	"sori.internal/shared/principal"
)

// Options are the settings of an experiment.
type Options struct {
	Seed     uint64        `help:"the seed of the random plan; 0 chooses a random seed"`
	Jobs     int           `default:"5000" help:"the number of recordings to upload"`
	Faults   int           `default:"210" help:"the number of faults to inject"`
	Clients  int           `default:"48" help:"the number of concurrent clients, each with one job at a time"`
	Running  int           `default:"8" help:"the limit of concurrent analyses, beyond which jobs wait in the queue; 0 is no limit"`
	Race     bool          `help:"build the services with the race detector"`
	Patience time.Duration `default:"1h" help:"the time limit of the experiment"`
	Linger   time.Duration `kong:"-"` // how long to wait until idle connections are closed
	Sweep    time.Duration `kong:"-"` // how long to wait until a sweep has removed the remains of uploads

	Dir string                           `kong:"-"` // folder for data and logs; must not exist, and is not deleted
	Say func(format string, args ...any) `kong:"-"`
}

// Experiment is a running experiment.
type Experiment struct {
	opt     Options
	sori    *harness.System
	proxy   *WebhookProxy
	source  *loadgen.Source
	clients *loadgen.Clients
	checker invariants.Checker

	closeChecker func() error

	restarting sync.Mutex // held while a dependency restarts, so that one restarts at a time
	mu         sync.Mutex
	injected   map[Kind]int
	before     leftovers
}

func newExperiment(opt Options) *Experiment {
	return &Experiment{opt: opt, injected: map[Kind]int{}}
}

// Run runs an experiment. An error means that the experiment could not be run. The report contains the
// invariants that do not hold.
func Run(ctx context.Context, opt Options) (report Report, err error) {
	ctx, cancel := context.WithTimeout(ctx, opt.Patience)
	defer cancel()
	o := newExperiment(opt)
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
	failure := o.run(ctx)
	report = o.judge(ctx)
	report.Took = time.Since(began)
	if failure != nil {
		report.fail(finishes, failure.Error())
	}
	return report, nil
}

// open starts everything.
func (o *Experiment) open(ctx context.Context) (err error) {
	if err := os.Mkdir(o.opt.Dir, 0o711); err != nil { // PostgreSQL's user must be able to traverse the folder
		return fmt.Errorf("make a folder: %w", err)
	}
	o.opt.Say("building and starting everything in %s", o.opt.Dir)
	if o.proxy, err = OpenWebhookProxy(ctx, o.opt.Seed); err != nil {
		return err
	}
	if o.source, err = loadgen.OpenSource(ctx, o.opt.Seed); err != nil {
		return err
	}
	counts := map[string]int{}
	for _, name := range harness.Services() {
		counts[name] = replicas
	}
	o.sori, err = harness.StartSystem(ctx, harness.SystemOptions{
		Dir: o.opt.Dir, Build: harness.BuildOptions{Race: o.opt.Race}, Stack: stack.Options{Fast: true, Log: zerolog.Nop()},
		Fleet: harness.Options{Replicas: counts, Env: o.settings()},
	})
	if err != nil {
		return err
	}
	o.proxy.Serve(o.sori.URLs(harness.Dispatcher))
	if o.checker, o.closeChecker, err = invariants.Open(harness.Connections(o.sori.Stack.Endpoints, nil)); err != nil {
		return err
	}
	admin, owners, err := o.makeKeys(ctx)
	if err != nil {
		return err
	}
	token, err := (&client.Client{Base: o.sori.URL(harness.Gateway), Credential: admin}).CreateToken(ctx, "")
	if err != nil {
		return err
	}
	o.clients = loadgen.NewClients(loadgen.ClientOptions{
		Gateways: o.sori.URLs(harness.Gateway), Token: token, Seed: o.opt.Seed, AtOnce: o.opt.Clients, Credentials: owners,
		Source: o.source,
	})
	return nil
}

// owners is the number of owners, among whom the jobs are divided.
const owners = 5

// ownerName returns the name of the i-th owner.
func ownerName(i int) string { return fmt.Sprintf("owner-%d", i) }

// makeKeys makes the API keys of an admin and of the owners.
func (o *Experiment) makeKeys(ctx context.Context) (admin string, all []string, err error) {
	settings := harness.Connections(o.sori.Stack.Endpoints, nil)
	if admin, err = apikey.Create(ctx, settings, "chaos", "admin", principal.Admin); err != nil {
		return "", nil, err
	}
	for i := range owners {
		key, err := apikey.Create(ctx, settings, "chaos", ownerName(i), apikey.User()...)
		if err != nil {
			return "", nil, err
		}
		all = append(all, key)
	}
	return admin, all, nil
}

// settings returns settings with short intervals and time limits, so that an experiment does not take long.
func (o *Experiment) settings() map[string]map[string]string {
	return map[string]map[string]string{
		harness.All:     {"RESULT_CACHE_TTL": "1h"}, // cached results are used: clients upload some recordings several times
		harness.Gateway: {"AUTH_API_KEYS": "true"},
		harness.Uploader: { // abandoned uploads are removed soon; no upload that is under way takes five minutes
			"SWEEP_INTERVAL": "5s", "UPLOAD_URL_VALID": "5m", "UPLOAD_EXPIRY": "5m",
		},
		harness.Dispatcher: {
			"WEBHOOK_URL":              o.proxy.URL + "/tokens/webhook/analysis-complete",
			"ANALYSIS_REQUEST_TIMEOUT": "5s", "ANALYSIS_POLL_INTERVAL": "1s", "ANALYSIS_BREAKER_DELAY": "1s",
			"ANALYSIS_MAX_RUNNING":  strconv.Itoa(o.opt.Running),
			"ANALYSIS_MAX_ATTEMPTS": "1000", // a job must not fail because faults interrupt its analysis many times
		},
		harness.Tracker: {
			"ANALYSIS_DEADLINE_MIN": "5s", "ANALYSIS_DEADLINE_MAX": "10s", "DEADLINE_SWEEP_INTERVAL": "1s", "SSE_HEARTBEAT": "2s",
		},
		harness.Analyzer: {
			"BEHAVIOUR_INSTANT": "true", "BEHAVIOUR_DELAY": analysisTakes.String(),
			"WEBHOOK_ATTEMPTS": "1000", "WEBHOOK_MAX_BACKOFF": "2s",
		},
	}
}

// analysisTakes is the duration of an analysis. It is long enough for progress to be published.
const analysisTakes = 500 * time.Millisecond

// warmUp runs jobs before the faults, so that the connections and buffers for all clients exist. Then it
// records the number of goroutines and open files of each process, for the comparison at the end.
func (o *Experiment) warmUp(ctx context.Context) error {
	n := 2 * o.opt.Clients
	o.opt.Say("warming up with %d jobs", n)
	if err := o.clients.Run(ctx, o.opt.Jobs, n); err != nil {
		return fmt.Errorf("warm up: %w", err)
	}
	var err error
	o.before, err = o.leftovers(ctx)
	return err
}

// run runs the clients and injects the planned faults at the same time.
func (o *Experiment) run(ctx context.Context) error {
	o.opt.Say("%d jobs, %d faults, seed %d", o.opt.Jobs, o.opt.Faults, o.opt.Seed)
	already, _ := o.clients.Ledger().Accepted()
	injected := make(chan error, 1)
	go func() { injected <- o.injectFaults(ctx, already, DrawPlan(o.opt.Seed, o.opt.Jobs, o.opt.Faults)) }()
	served := o.clients.Run(ctx, 0, o.opt.Jobs)
	return errors.Join(served, <-injected)
}

// Injected returns the number of injected faults by kind.
func (o *Experiment) Injected() map[Kind]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.injected)
}

// close stops everything that was started.
func (o *Experiment) close(ctx context.Context) error {
	var errs []error
	if o.clients != nil {
		o.clients.Close()
	}
	if o.proxy != nil {
		errs = append(errs, o.proxy.Close(ctx))
	}
	if o.source != nil {
		errs = append(errs, o.source.Close())
	}
	if o.sori != nil && o.sori.Fleet != nil {
		errs = append(errs, o.sori.Fleet.Stop(ctx))
	}
	if o.closeChecker != nil {
		errs = append(errs, o.closeChecker())
	}
	if o.sori != nil {
		errs = append(errs, o.sori.Stop(ctx))
	}
	return errors.Join(errs...)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/invariants"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/infra/internal/stack"
	gateway "sori.internal/services/gateway/app"
	"sori.internal/shared/config"
	"sori.internal/shared/principal"
)

// options are the settings of an experiment.
type options struct {
	Seed     uint64        `help:"the seed of the random plan; 0 chooses a random seed"`
	Jobs     int           `default:"5000" help:"the number of recordings to upload"`
	Faults   int           `default:"210" help:"the number of faults to inject"`
	Clients  int           `default:"48" help:"the number of concurrent clients, each with one job at a time"`
	Running  int           `default:"8" help:"the limit of concurrent analyses, beyond which jobs wait in the queue; 0 is no limit"`
	Race     bool          `help:"build the services with the race detector"`
	Patience time.Duration `default:"1h" help:"the time limit of the experiment"`
	Linger   time.Duration `kong:"-"` // how long to wait until idle connections are closed
	Sweep    time.Duration `kong:"-"` // how long to wait until a sweep has removed what interrupted uploads left behind
	Keep     bool          `help:"do not delete the folder with data and logs after a success; after a failure it is always kept"`

	Say func(format string, args ...any) `kong:"-"`
}

// experiment is a running experiment.
type experiment struct {
	opt     options
	dir     string // folder for data and logs
	sori    *harness.System
	proxy   *webhookProxy
	source  *loadgen.Source
	clients *loadgen.Clients
	checker invariants.Checker

	restarting sync.Mutex // held while a dependency restarts, so that one restarts at a time
	mu         sync.Mutex
	injected   map[kind]int // number of injected faults; guarded by mu until run has returned
	before     leftovers
}

func newExperiment(opt options) *experiment {
	return &experiment{opt: opt, injected: map[kind]int{}}
}

// perform starts Sori, injects the planned faults while clients use it, and then checks every
// invariant. An error means that the experiment could not be run. The report contains the invariants
// that do not hold.
func (o *experiment) perform(ctx context.Context) (r report, err error) {
	ctx, cancel := context.WithTimeout(ctx, o.opt.Patience)
	defer cancel()
	began := time.Now()
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, o.close(closing))
	}()
	if err := o.open(ctx); err != nil {
		return report{}, err
	}
	if err := o.warmUp(ctx); err != nil {
		return report{}, err
	}
	failure := o.run(ctx)
	r = o.judge(ctx)
	r.took = time.Since(began)
	if failure != nil {
		r.judge(finishes, texts(failure))
	}
	return r, nil
}

// open starts everything.
func (o *experiment) open(ctx context.Context) (err error) {
	if o.dir, err = harness.TempDir("", "sori-chaos-"); err != nil {
		return err
	}
	o.opt.Say("building and starting everything in %s", o.dir)
	if o.proxy, err = openWebhookProxy(ctx, o.opt.Seed); err != nil {
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
		Dir: o.dir, Build: harness.BuildOptions{Race: o.opt.Race}, Stack: stack.Options{Fast: true, Log: zerolog.Nop()},
		Fleet: harness.Options{Replicas: counts, Env: o.settings()},
	})
	if err != nil {
		return err
	}
	o.proxy.serve(o.sori.URLs(harness.Dispatcher))
	if o.checker, err = invariants.Open(harness.Connections(o.sori.Stack.Endpoints, nil)); err != nil {
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
func (o *experiment) makeKeys(ctx context.Context) (admin string, all []string, err error) {
	settings := config.Map(harness.Connections(o.sori.Stack.Endpoints, nil))
	if admin, err = gateway.CreateAPIKey(ctx, settings, "chaos", "admin", principal.Admin); err != nil {
		return "", nil, err
	}
	for i := range owners {
		key, err := gateway.CreateAPIKey(ctx, settings, "chaos", ownerName(i), principal.UserScopes()...)
		if err != nil {
			return "", nil, err
		}
		all = append(all, key)
	}
	return admin, all, nil
}

// settings returns settings with short intervals and time limits, so that an experiment does not take long.
func (o *experiment) settings() map[string]map[string]string {
	return map[string]map[string]string{
		harness.All:     {"RESULT_CACHE_TTL": "1h"}, // cached results are used: clients upload some recordings several times
		harness.Gateway: {"AUTH_API_KEYS": "true"},
		harness.Uploader: { // abandoned uploads are removed soon; no upload that is under way takes five minutes
			"SWEEP_INTERVAL": "5s", "UPLOAD_URL_VALID": "5m", "UPLOAD_EXPIRY": "5m",
		},
		harness.Dispatcher: {
			"WEBHOOK_URL":              o.proxy.url + "/tokens/webhook/analysis-complete",
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
// records the number of goroutines and open files of each process, for the comparison at the end of the
// experiment.
func (o *experiment) warmUp(ctx context.Context) error {
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
func (o *experiment) run(ctx context.Context) error {
	o.opt.Say("%d jobs, %d faults, seed %d", o.opt.Jobs, o.opt.Faults, o.opt.Seed)
	already, _ := o.clients.Ledger().Accepted()
	injected := make(chan error, 1)
	go func() { injected <- o.injectFaults(ctx, already, drawPlan(o.opt.Seed, o.opt.Jobs, o.opt.Faults)) }()
	served := o.clients.Run(ctx, 0, o.opt.Jobs)
	return errors.Join(served, <-injected)
}

// remove deletes the folder of an experiment that was closed.
func (o *experiment) remove() error {
	if o.sori == nil {
		return os.RemoveAll(o.dir)
	}
	return o.sori.Remove()
}

// close stops everything that was started.
func (o *experiment) close(ctx context.Context) error {
	var errs []error
	if o.clients != nil {
		o.clients.Close()
	}
	if o.proxy != nil {
		errs = append(errs, o.proxy.close(ctx))
	}
	if o.source != nil {
		errs = append(errs, o.source.Close())
	}
	errs = append(errs, o.checker.Close())
	if o.sori != nil {
		errs = append(errs, o.sori.Stop(ctx))
	}
	return errors.Join(errs...)
}

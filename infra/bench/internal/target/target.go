// Package target provides the installation to measure: either one that is started for the benchmark on
// this machine and deleted afterwards, or one that runs already. It also contains a stub analysis server,
// and subscribers that record the events of jobs.
package target

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	_ "github.com/lib/pq" // the database/sql driver
	"github.com/minio/minio-go/v7"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/stack"
	gateway "sori.internal/services/gateway/app"
	"sori.internal/shared/config"
	"sori.internal/shared/objectstore"
	"sori.internal/shared/principal"
)

// stopPatience is the time limit for the stop of all processes.
const stopPatience = 40 * time.Second

// ErrNotOurs means that a scenario has to restart services with other settings, which is possible only if the benchmark has
// started them.
var ErrNotOurs = errors.New("needs services of its own")

// Target is the installation to measure. Fields that are unknown are nil or empty.
type Target struct {
	Gateway     string
	Token       int64 // id of the token to upload to
	NATS        *nats.Conn
	Completions *Completions
	S3          *minio.Client
	Bucket      string
	DB          *sql.DB
	Containers  Containers // limits in docker-compose.yml; empty for an installation that ran already

	keep   bool
	system *harness.System // nil for an installation that ran already
	probes []probe
}

// Options are the settings of Start.
type Options struct {
	Keep bool // Close keeps the folder with data and logs
	Log  zerolog.Logger

	// Profile is a folder for CPU profiles of the services. If it is empty, no profiles are written.
	Profile string
}

// Start starts all services and their dependencies. The analysis server sends a fixed result at once.
func Start(ctx context.Context, opts Options) (w *Target, err error) {
	w = &Target{keep: opts.Keep, Bucket: harness.Bucket}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close(ctx))
			w = nil
		}
	}()
	dir, err := harness.TempDir("", "sori-bench-")
	if err != nil {
		return w, err
	}
	env, err := settings(opts.Profile)
	if err != nil {
		return w, err
	}
	if w.Containers, err = ReadContainers(); err != nil {
		return w, err
	}
	w.system, err = harness.StartSystem(ctx, harness.SystemOptions{
		Dir: dir, Build: harness.BuildOptions{Profile: opts.Profile != ""},
		Stack: stack.Options{Log: opts.Log, MemoryLimit: map[stack.Part]int64{
			stack.NATS: w.Containers[string(stack.NATS)].SoftMemory, stack.S3: w.Containers[string(stack.S3)].SoftMemory,
		}},
		Fleet: harness.Options{Env: env},
	})
	if err != nil {
		return w, errors.Join(err, os.RemoveAll(dir))
	}
	w.Gateway = w.system.URL(harness.Gateway)
	w.probeOwn()
	return w, w.connect(ctx, w.system.Stack.Endpoints)
}

// settings returns the settings for a measurement, by program.
func settings(profiles string) (map[string]map[string]string, error) {
	env := map[string]map[string]string{harness.Analyzer: {"BEHAVIOUR_INSTANT": "true", "BEHAVIOUR_NO_PROGRESS": "true"}}
	if profiles == "" {
		return env, nil
	}
	if err := os.MkdirAll(profiles, 0o755); err != nil {
		return nil, fmt.Errorf("make a folder for profiles: %w", err)
	}
	for _, name := range harness.Services() {
		env[name] = map[string]string{harness.ProfileVariable: profiles}
	}
	return env, nil
}

// connect connects to the dependencies whose addresses are known, and creates the token.
func (w *Target) connect(ctx context.Context, deps stack.Endpoints) (err error) {
	if deps.NATSURL != "" {
		if w.NATS, err = nats.Connect(deps.NATSURL, nats.Name("bench")); err != nil {
			return fmt.Errorf("reach the bus: %w", err)
		}
		if w.Completions, err = Listen(w.NATS); err != nil {
			return err
		}
	}
	if deps.DatabaseURL != "" {
		if w.DB, err = sql.Open("postgres", deps.DatabaseURL); err != nil {
			return fmt.Errorf("reach the database: %w", err)
		}
	}
	if deps.S3Endpoint != "" && deps.S3AccessKey != "" {
		w.S3, err = objectstore.Open(objectstore.Config{
			AccessKey: deps.S3AccessKey, SecretKey: config.Secret(deps.S3SecretKey),
			Region: deps.S3Region, Bucket: w.Bucket, Endpoint: deps.S3Endpoint, Stall: time.Minute,
		})
		if err != nil {
			return err
		}
	}
	api := w.Client(1)
	defer api.Close()
	w.Token, err = api.CreateToken(ctx, "bench")
	return err
}

// Close closes the connections, and stops the processes that were started.
func (w *Target) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
	defer cancel()
	var errs []error
	if w.NATS != nil {
		w.NATS.Close()
	}
	if w.DB != nil {
		errs = append(errs, w.DB.Close())
	}
	if w.system != nil {
		errs = append(errs, w.system.Stop(ctx))
		if !w.keep {
			errs = append(errs, w.system.Remove())
		}
	}
	return errors.Join(errs...)
}

// Client returns a client that keeps one idle connection for each concurrent upload. Every stream uses a
// new connection, as if each were from another browser.
func (w *Target) Client(concurrent int) *client.Client {
	return &client.Client{
		Base: w.Gateway,
		HTTP: &http.Client{Transport: &http.Transport{
			MaxIdleConns: 0, MaxIdleConnsPerHost: concurrent, WriteBufferSize: 64 << 10, DisableCompression: true,
		}},
		Streams: &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}},
	}
}

// Dir returns the folder with data and logs, or "" for an installation that ran already.
func (w *Target) Dir() string {
	if w.system == nil {
		return ""
	}
	return w.system.Dir()
}

// Failed returns a channel that receives an error for a process that ends without having been stopped. For
// an installation that ran already it returns nil, from which a receive blocks forever.
func (w *Target) Failed() <-chan error {
	if w.system == nil {
		return nil
	}
	return w.system.Exited()
}

// APIKey makes an API key with the scopes of a user and further scopes. It fails with ErrNotOurs if the
// benchmark has not started the services.
func (w *Target) APIKey(ctx context.Context, owner string, further ...principal.Scope) (string, error) {
	if w.system == nil {
		return "", ErrNotOurs
	}
	settings := config.Map(harness.Connections(w.system.Stack.Endpoints, nil))
	return gateway.CreateAPIKey(ctx, settings, "bench", owner, append(principal.UserScopes(), further...)...)
}

// UseStub restarts the dispatcher with a stub as its analysis server. restore restarts it with the former
// analysis server and closes the stub.
func (w *Target) UseStub(ctx context.Context) (h *StubAnalyzer, restore func() error, err error) {
	if w.system == nil {
		return nil, nil, ErrNotOurs
	}
	if h, err = StartStubAnalyzer(ctx); err != nil {
		return nil, nil, err
	}
	if err := w.retarget(ctx, h.URL()); err != nil {
		return nil, nil, errors.Join(err, h.Close())
	}
	return h, func() error {
		return errors.Join(w.retarget(context.WithoutCancel(ctx), w.system.URL(harness.Analyzer)+"/analyze"), h.Close())
	}, nil
}

func (w *Target) retarget(ctx context.Context, url string) error {
	return w.Restart(ctx, map[string]string{"TARGET_SERVER_URL": url}, harness.Dispatcher)
}

// Aside returns the URL of a process to which clients send no requests: its response time shows how busy
// the machine is.
func (w *Target) Aside() string { return w.system.URL(harness.Uploader) }

// Restart restarts services with changed settings. After a restart a service uses little memory.
func (w *Target) Restart(ctx context.Context, settings map[string]string, names ...string) error {
	if w.system == nil {
		return ErrNotOurs
	}
	for _, name := range names {
		p := w.system.Process(name, 0)
		for setting, value := range settings {
			p.Setenv(setting, value)
		}
		if err := p.Restart(ctx); err != nil {
			return err
		}
	}
	return nil
}

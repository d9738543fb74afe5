// Package world is what is measured: Sori's four services as processes of their own with everything that they depend on, all
// on this machine and thrown away afterwards; or a Sori that runs already.
package world

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	_ "github.com/lib/pq" // the database/sql driver
	"github.com/minio/minio-go/v7"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"sori.internal/infra/bench/internal/load"
	"sori.internal/infra/internal/fleet"
	"sori.internal/infra/internal/stack"
	"sori.internal/shared/config"
	"sori.internal/shared/objectstore"
)

// stopPatience bounds how long everything may take to stop.
const stopPatience = 40 * time.Second

// ErrNotOurs says that a scenario needs to restart processes with other settings, which is done only to those that were
// started for it.
var ErrNotOurs = errors.New("needs services of its own")

// World is what is measured. What it does not know is nil or empty.
type World struct {
	Gateway string
	Token   int64 // to upload to
	NATS    *nats.Conn
	Endings *load.Endings
	S3      *minio.Client
	Bucket  string
	DB      *sql.DB

	dir    string
	keep   bool
	fleet  *fleet.Fleet
	stack  *stack.Stack
	probes []probe
}

// Options say how to start a world of one's own.
type Options struct {
	Keep bool // the folder with the logs stays
	Log  zerolog.Logger

	// Profile is a folder for CPU profiles of the services; none are made where it is empty.
	Profile string
}

// Own starts everything. The analysis server answers at once, with a made-up result.
func Own(ctx context.Context, opts Options) (w *World, err error) {
	w = &World{keep: opts.Keep, Bucket: fleet.Bucket}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close(ctx))
			w = nil
		}
	}()
	if w.dir, err = os.MkdirTemp("", "sori-bench-"); err != nil {
		return w, fmt.Errorf("make a folder: %w", err)
	}
	if err = os.Chmod(w.dir, 0o711); err != nil { // PostgreSQL passes through as a user of its own
		return w, fmt.Errorf("open the folder: %w", err)
	}
	programs := filepath.Join(w.dir, "programs")
	if err = fleet.Build(ctx, programs, fleet.BuildOptions{Profile: opts.Profile != ""}); err != nil {
		return w, err
	}
	env, err := settings(opts.Profile)
	if err != nil {
		return w, err
	}
	w.stack, err = stack.Start(ctx, stack.Options{Dir: filepath.Join(w.dir, "stack"), Log: opts.Log})
	if err != nil {
		return w, err
	}
	w.fleet, err = fleet.Start(ctx, fleet.Options{
		Dir: filepath.Join(w.dir, "logs"), Programs: programs, Deps: w.stack.Endpoints, Env: env,
	})
	if err != nil {
		return w, err
	}
	w.Gateway = w.fleet.URL(fleet.Gateway)
	w.probeOwn()

	return w, w.connect(ctx, w.stack.Endpoints)
}

// settings are those that a measurement needs.
func settings(profiles string) (map[string]map[string]string, error) {
	env := map[string]map[string]string{fleet.Analyzer: {"BEHAVIOUR_INSTANT": "true", "BEHAVIOUR_NO_PROGRESS": "true"}}
	if profiles == "" {
		return env, nil
	}
	if err := os.MkdirAll(profiles, 0o755); err != nil {
		return nil, fmt.Errorf("make a folder for profiles: %w", err)
	}
	for _, name := range []string{fleet.Gateway, fleet.Uploader, fleet.Dispatcher, fleet.Tracker} {
		env[name] = map[string]string{fleet.ProfileVariable: filepath.Join(profiles, name+".pprof")}
	}

	return env, nil
}

// connect reaches what of the dependencies is known, and makes the token.
func (w *World) connect(ctx context.Context, deps stack.Endpoints) (err error) {
	if deps.NATSURL != "" {
		if w.NATS, err = nats.Connect(deps.NATSURL, nats.Name("bench")); err != nil {
			return fmt.Errorf("reach the bus: %w", err)
		}
		if w.Endings, err = load.Listen(w.NATS); err != nil {
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
	client := load.NewClient(w.Gateway, 1)
	defer client.Close()
	w.Token, err = client.Token(ctx)

	return err
}

// Close lets go of everything and stops what was started.
func (w *World) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
	defer cancel()
	var errs []error
	if w.NATS != nil {
		w.NATS.Close()
	}
	if w.DB != nil {
		errs = append(errs, w.DB.Close())
	}
	if w.fleet != nil {
		errs = append(errs, w.fleet.Stop(ctx))
	}
	if w.stack != nil {
		errs = append(errs, w.stack.Stop(ctx))
	}
	if w.dir != "" && !w.keep {
		errs = append(errs, os.RemoveAll(w.dir))
	}

	return errors.Join(errs...)
}

// Dir is the folder with the logs; empty for a world that was found.
func (w *World) Dir() string { return w.dir }

// Failed delivers the end of a process that should have gone on; nil, which blocks for ever, for a world that was found.
func (w *World) Failed() <-chan error {
	if w.fleet == nil {
		return nil
	}

	return w.fleet.Exited()
}

// Hold puts an analysis server in the place of the present one that answers only when it is told. restore undoes it.
func (w *World) Hold(ctx context.Context) (h *load.Holder, restore func() error, err error) {
	if w.fleet == nil {
		return nil, nil, ErrNotOurs
	}
	if h, err = load.Hold(ctx); err != nil {
		return nil, nil, err
	}
	if err := w.retarget(ctx, h.URL()); err != nil {
		return nil, nil, errors.Join(err, h.Close())
	}

	return h, func() error {
		return errors.Join(w.retarget(context.WithoutCancel(ctx), w.fleet.URL(fleet.Analyzer)+"/analyze"), h.Close())
	}, nil
}

func (w *World) retarget(ctx context.Context, url string) error {
	return w.Restart(ctx, map[string]string{"TARGET_SERVER_URL": url}, fleet.Dispatcher)
}

// Restart restarts services with settings changed, so that they begin with nothing in memory.
func (w *World) Restart(ctx context.Context, settings map[string]string, names ...string) error {
	if w.fleet == nil {
		return ErrNotOurs
	}
	for _, name := range names {
		p := w.fleet.Process(name, 0)
		for setting, value := range settings {
			p.Setenv(setting, value)
		}
		if err := p.Restart(ctx); err != nil {
			return err
		}
	}

	return nil
}

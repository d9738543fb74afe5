// Package stack runs what Sori depends on, a NATS server, an S3 server and a PostgreSQL cluster, on one machine without
// containers.
//
// Everything listens on the loopback address and keeps its data in one folder, which one process holds at a time. Nothing
// outlives that process: not after Stop, and on Linux not after kill -9 either. A second start in the same folder finds
// the data, the passwords and, as long as nobody took them, the ports of the first.
//
// Some parts are this very program, executed again: a main that starts a stack calls parts.RunChild before anything else.
// The tests have another program play them (Main).
package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"sori.internal/infra/internal/stack/pg"
	"sori.internal/infra/internal/stack/proc"
)

// Part names one of the dependencies.
type Part string

// The parts of a stack. With a cluster there is a Node for each of its servers and no NATS.
const (
	NATS     Part = "nats"
	S3       Part = "s3"
	Postgres Part = "postgres"
)

// Region is the S3 region of every stack.
const Region = "us-east-1"

const lockName = "lock"

// Ports are the ports to listen on; 0 takes the one of the folder's last run, or any free one.
type Ports struct{ NATS, S3, Postgres int }

// Options say how to run a stack.
type Options struct {
	Dir   string // the state folder; made if it is missing
	Ports Ports
	Log   zerolog.Logger

	// NATSNodes, where it is more than one, runs so many NATS servers as a cluster, each a process and a part of its own (Node)
	// in place of NATS. A later start finds their data, and other ports.
	NATSNodes int
	// Fast lets PostgreSQL lose data at a power cut, not at a kill; for tests.
	Fast bool
	// PostgresSearch says where PostgreSQL's programs are looked for; the zero value is the usual places.
	PostgresSearch pg.Search
}

// Endpoints are how to reach the parts.
type Endpoints struct {
	NATSURL     string
	S3Endpoint  string
	S3AccessKey string
	S3SecretKey string
	S3Region    string
	DatabaseURL string // the database sori as its owner
	AdminURL    string // the superuser, who may create databases
}

// server is what the stack needs of a running part.
type server interface {
	Port() int
	PID() int
	Done() <-chan struct{}
	Err() error
	Stop(ctx context.Context) error
}

// Stack is a running stack.
type Stack struct {
	Endpoints

	opts    Options
	keys    secrets
	lock    *proc.Lock
	exited  chan error
	cluster Cluster // empty with a single server

	mu    sync.Mutex // guards parts
	parts map[Part]*member

	once    sync.Once
	stopErr error
}

// member is a part with the goroutine that watches it.
type member struct {
	server
	once     sync.Once
	expected chan struct{} // closed before the part is stopped on purpose
	watched  chan struct{} // closed when the watch is over
}

// Start starts the parts side by side and returns when all answer. A folder that another process holds is refused with a
// *proc.HeldError.
func Start(ctx context.Context, opts Options) (*Stack, error) {
	s := &Stack{opts: opts, exited: make(chan error, 16), parts: make(map[Part]*member)}
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("start stack: %w", err)
	}
	if err := s.startAll(ctx); err != nil {
		return nil, fmt.Errorf("start stack: %w", errors.Join(err, s.Stop(context.WithoutCancel(ctx))))
	}
	return s, nil
}

// open takes the folder and reads what it remembers.
func (s *Stack) open() error {
	dir, err := filepath.Abs(s.opts.Dir)
	if err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	// Open for passing through: PostgreSQL may run as another user. What is private below is made so.
	if err = os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	// A link to the folder must not make a second folder of it.
	if s.opts.Dir, err = filepath.EvalSymlinks(dir); err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	if s.lock, err = proc.AcquireLock(filepath.Join(s.opts.Dir, lockName)); err != nil {
		return err
	}
	if s.keys, err = loadSecrets(s.opts.Dir); err != nil {
		return errors.Join(err, s.lock.Release())
	}
	return nil
}

func (s *Stack) startAll(ctx context.Context) error {
	ports := loadPorts(s.opts.Dir)
	group, ctx := errgroup.WithContext(ctx)
	singles := []Part{NATS, S3, Postgres}
	if s.opts.NATSNodes > 1 {
		singles = singles[1:]
		group.Go(func() error { return s.startNodes(ctx) })
	}
	for _, part := range singles {
		group.Go(func() error { return s.start(ctx, part, s.wish(part, ports)) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.parts {
		s.describe(m.server, s.keys)
	}
	ports.S3, ports.Postgres = s.parts[S3].Port(), s.parts[Postgres].Port()
	if len(s.cluster) > 0 {
		s.NATSURL = s.cluster.URL()
	} else {
		ports.NATS = s.parts[NATS].Port()
	}
	return savePorts(s.opts.Dir, ports)
}

// Parts lists the parts in the order in which they are, reversed, stopped.
func (s *Stack) Parts() []Part {
	if len(s.cluster) == 0 {
		return []Part{NATS, S3, Postgres}
	}
	var parts []Part
	for _, m := range s.cluster {
		parts = append(parts, Part(m.Name))
	}
	return append(parts, S3, Postgres)
}

func (s *Stack) wish(part Part, last Ports) proc.Port {
	switch part {
	case NATS:
		return proc.Port{Fixed: s.opts.Ports.NATS, Prefer: last.NATS}
	case S3:
		return proc.Port{Fixed: s.opts.Ports.S3, Prefer: last.S3}
	default:
		return proc.Port{Fixed: s.opts.Ports.Postgres, Prefer: last.Postgres}
	}
}

// start starts one part and watches it.
func (s *Stack) start(ctx context.Context, part Part, port proc.Port) error {
	log := s.opts.Log.With().Str("part", string(part)).Logger()
	srv, err := s.launch(ctx, part, port, log)
	if err != nil {
		return err
	}
	log.Info().Int("port", srv.Port()).Msg("part is ready")
	s.watch(part, srv)
	return nil
}

func (s *Stack) launch(ctx context.Context, part Part, port proc.Port, log zerolog.Logger) (server, error) {
	switch part {
	case NATS:
		return StartNATS(ctx, port, NATSSettings{Dir: filepath.Join(s.opts.Dir, "nats")}, log)
	case S3:
		return StartS3(ctx, port, S3Settings{
			Dir: filepath.Join(s.opts.Dir, "s3"), AccessKey: s.keys.S3AccessKey, SecretKey: s.keys.S3SecretKey, Region: Region,
		}, log)
	case Postgres:
		return pg.Start(ctx, pg.Options{
			Dir: s.opts.Dir, Port: port, Fast: s.opts.Fast, Search: s.opts.PostgresSearch, Log: log,
			AdminPassword: s.keys.PostgresAdmin, OwnerPassword: s.keys.PostgresOwner,
		})
	default:
		return s.launchNode(ctx, part, log)
	}
}

// describe tells how to reach a part. It is told once: a restarted part keeps its port.
func (e *Endpoints) describe(srv server, keys secrets) {
	switch p := srv.(type) {
	case *NATSServer:
		e.NATSURL = p.URL()
	case *S3Server:
		e.S3Endpoint, e.S3Region = p.Endpoint(), Region
		e.S3AccessKey, e.S3SecretKey = keys.S3AccessKey, keys.S3SecretKey
	case *pg.Server:
		e.DatabaseURL, e.AdminURL = p.URL(), p.AdminURL()
	}
}

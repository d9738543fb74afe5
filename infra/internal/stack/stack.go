// Package stack runs the dependencies of Sori, a NATS server, an S3 server and a PostgreSQL cluster, on one machine without
// containers.
//
// All servers listen on the loopback address and keep their data in one state folder, which one process at a time locks. No
// server outlives that process, on Linux not even after kill -9. A later start in the same folder uses the same data, the
// same passwords and, if they are still free, the same ports.
//
// The NATS and S3 servers run in this very program, executed again as a child process: a main that starts a stack must call
// parts.RunChild before anything else. In tests another program runs them (see Main).
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

// The parts of a stack. A NATS cluster has one part for each server (see Node) instead of NATS.
const (
	NATS     Part = "nats"
	S3       Part = "s3"
	Postgres Part = "postgres"
)

// Region is the S3 region of every stack.
const Region = "us-east-1"

const lockName = "lock"

// Ports are the ports on which the servers listen. 0 selects the port of the folder's last run if it is free, else any free port.
type Ports struct{ NATS, S3, Postgres int }

// Options are the settings of a stack.
type Options struct {
	Dir   string // the state folder; created if it does not exist
	Ports Ports
	Log   zerolog.Logger

	// NATSNodes is the number of NATS servers. If it is more than one, the servers form a cluster; each has its own process and
	// its own part (Node) in place of NATS. A later start uses the same data, but other ports.
	NATSNodes int
	// MemoryLimit is the soft memory limit of the Go runtime of a part, in bytes (GOMEMLIMIT). A part that is not
	// in the map has none; PostgreSQL ignores it.
	MemoryLimit map[Part]int64
	// Fast turns off PostgreSQL's fsync, for tests: data may be lost at a power cut, but not if the server is killed.
	Fast bool
	// PostgresSearch lists the folders to search for PostgreSQL's programs; the zero value means the usual folders.
	PostgresSearch pg.Search
}

// Endpoints are the URLs and credentials with which clients connect to the parts.
type Endpoints struct {
	NATSURL     string // connects as natsauth.Admin, the user with all permissions
	S3Endpoint  string
	S3AccessKey string
	S3SecretKey string
	S3Region    string
	DatabaseURL string // connects to the database sori as its owner
	AdminURL    string // connects as the superuser, who may create databases
}

// server is a running part.
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
	watched  chan struct{} // closed when the goroutine has ended
}

// Start starts all parts concurrently and returns when all are ready. If another process has locked the folder, the error is
// a *proc.HeldError.
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

// open creates and locks the state folder, and loads the secrets from it.
func (s *Stack) open() error {
	dir, err := filepath.Abs(s.opts.Dir)
	if err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	// Other users may traverse the folder, because PostgreSQL may run as another user. Private files below it have their own
	// permissions.
	if err = os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	// The path is resolved so that a symbolic link to the folder means the same folder and the same lock.
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
		s.NATSURL = s.cluster.adminURL(s.keys.NATSAdmin)
	} else {
		ports.NATS = s.parts[NATS].Port()
	}
	return savePorts(s.opts.Dir, ports)
}

// Parts lists the parts. Stop stops them in the reverse order.
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

// start starts one part, and the goroutine that watches it.
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
		return StartNATS(ctx, port, NATSSettings{
			Dir: filepath.Join(s.opts.Dir, "nats"), AdminPassword: s.keys.NATSAdmin, MemoryLimit: s.opts.MemoryLimit[NATS],
		}, log)
	case S3:
		return StartS3(ctx, port, S3Settings{
			Dir: filepath.Join(s.opts.Dir, "s3"), AccessKey: s.keys.S3AccessKey, SecretKey: s.keys.S3SecretKey, Region: Region,
			MemoryLimit: s.opts.MemoryLimit[S3],
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

// describe sets the URL and credentials of a part. It is called once, because a restarted part keeps its port.
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

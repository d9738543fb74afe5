// Package pg runs a private PostgreSQL cluster on the loopback address.
//
// It uses the machine's own PostgreSQL, or downloads one. The cluster belongs to this process: the server is stopped
// with it (on Linux even when it is killed), and a server that an earlier, killed process of the same folder left behind
// is ended before a new one starts. PostgreSQL refuses to run as root, so for root it runs as another user, whose folder
// must then be reachable; where it is not, the cluster lives elsewhere and a file in the folder says where.
package pg

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/infra/internal/stack/proc"
)

const (
	admin = "postgres" // the superuser and the database that every cluster has
	owner = "sori"     // the role that services use, and its database

	maxConnections = 300
	stopGrace      = 10 * time.Second
	quitGrace      = 5 * time.Second

	// settleLimit is how long a start waits for the child processes of a killed server. They exit by themselves, and until
	// then a new server cannot start.
	settleLimit = 10 * time.Second
)

// Options say how to run the server.
type Options struct {
	Dir           string // an absolute path that exists; the cluster goes below it
	Port          proc.Port
	AdminPassword string
	OwnerPassword string
	Fast          bool // trades the safety of the data at a power cut for speed: for tests
	Log           zerolog.Logger

	FallbackDir string // where a cluster goes whose Dir the run user cannot reach; "" is /var/tmp
	Repository  string // where binaries are downloaded from; "" is Maven Central
	Search      Search // where binaries are looked for; the zero value is the usual places
}

// Server is a running PostgreSQL server.
type Server struct {
	opts  Options
	place place
	lock  *proc.Lock // of a cluster that lives outside Dir
	port  int
	proc  *proc.Process
}

// Start starts the server, creates the cluster and the database where they are missing, and returns when it answers.
func Start(ctx context.Context, opts Options) (*Server, error) {
	srv := &Server{opts: opts}
	if err := srv.start(ctx); err != nil {
		if srv.lock != nil {
			_ = srv.lock.Release()
		}
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	return srv, nil
}

func (s *Server) start(ctx context.Context) error {
	var err error
	if s.place, s.lock, err = settle(s.opts.Dir, s.fallbackDir(), s.opts.Log); err != nil {
		return err
	}
	bin, err := s.binaries(ctx)
	if err != nil {
		return err
	}
	if err = s.place.create(ctx, bin, s.opts); err != nil {
		return err
	}
	leftover, err := endLeftover(ctx, s.place.data(), s.opts.Log)
	if err != nil {
		return err
	}
	if err = s.launch(ctx, bin, leftover); err != nil {
		return err
	}
	if err = s.prepare(ctx); err != nil {
		_ = s.stopProcess(ctx)
		return err
	}
	return nil
}

// launch starts the server. After a crash it tries for a while: until the last process of the crashed server is gone, a
// new one refuses the shared memory.
func (s *Server) launch(ctx context.Context, bin string, leftover bool) error {
	deadline := time.Now().Add(settleLimit)
	for {
		err := proc.WithPort(ctx, s.opts.Port, func(port int) error {
			s.port = port
			return s.run(ctx, bin)
		})
		if err == nil || !leftover || !errors.Is(err, errEarlyExit) || time.Now().After(deadline) {
			return err
		}
		if err = pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

func (s *Server) run(ctx context.Context, bin string) error {
	p, err := proc.Start(proc.Spec{
		Name:          "postgres",
		Path:          filepath.Join(bin, "postgres"),
		Args:          s.arguments(),
		Env:           environment(),
		Dir:           s.place.folder,
		User:          s.place.user,
		OnParentDeath: syscall.SIGINT, // the fast shutdown: clients are cut off, the data is written
		Log:           s.opts.Log,
	})
	if err != nil {
		return err
	}
	s.proc = p
	if err = s.await(ctx); err != nil {
		_ = s.stopProcess(ctx)
		return err
	}
	return nil
}

func (s *Server) arguments() []string {
	flush := "on"
	if s.opts.Fast {
		flush = "off"
	}
	settings := [][2]string{
		{"listen_addresses", proc.Host},
		{"port", strconv.Itoa(s.port)},
		{"unix_socket_directories", ""}, // the path of a socket is limited to about a hundred bytes, ours is not
		{"max_connections", strconv.Itoa(maxConnections)},
		{"shared_buffers", "128MB"},
		{"fsync", flush},
		{"full_page_writes", flush},
		// Always: without it a commit sits in shared memory and a killed server loses it. Without fsync it costs a write.
		{"synchronous_commit", "on"},
		{"logging_collector", "off"},
		{"log_destination", "stderr"},
		{"log_line_prefix", ""}, // the logger adds the time
	}
	args := []string{"-D", s.place.data()}
	for _, kv := range settings {
		args = append(args, "-c", kv[0]+"="+kv[1])
	}
	return args
}

func (s *Server) fallbackDir() string {
	if s.opts.FallbackDir != "" {
		return s.opts.FallbackDir
	}
	return "/var/tmp"
}

// environment is all that PostgreSQL's programs get: PG* variables of the caller must not redirect them.
func environment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
}

func (s *Server) url(user, password, database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(user, password),
		Host:     proc.Address(s.port),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// URL is the services' database, as its owner.
func (s *Server) URL() string { return s.url(owner, s.opts.OwnerPassword, owner) }

// AdminURL is the superuser's, who may create databases.
func (s *Server) AdminURL() string { return s.url(admin, s.opts.AdminPassword, admin) }

// Port is the port that it listens on.
func (s *Server) Port() int { return s.port }

// PID is the number of the server's first process.
func (s *Server) PID() int { return s.proc.PID() }

// Done is closed when the server has ended.
func (s *Server) Done() <-chan struct{} { return s.proc.Done() }

// Err tells why it ended.
func (s *Server) Err() error { return s.proc.Err() }

// Stop ends the server and returns when all its processes are gone; a second call finds nothing to do.
func (s *Server) Stop(ctx context.Context) error {
	err := s.stopProcess(ctx)
	if s.lock != nil {
		err = errors.Join(err, s.lock.Release())
		s.lock = nil
	}
	return err
}

func (s *Server) stopProcess(ctx context.Context) error {
	s.proc.Stop(ctx,
		proc.Step{Signal: syscall.SIGINT, Grace: stopGrace},
		proc.Step{Signal: syscall.SIGQUIT, Grace: quitGrace})
	return nil
}

// pause waits between two attempts.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

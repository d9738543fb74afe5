// Package pg runs a private PostgreSQL cluster on the loopback address.
//
// It uses the PostgreSQL that is installed on the machine, or downloads one. The server stops when this process ends (on Linux
// even if this process is killed). If an earlier process was killed and its server still runs on the same folder, Start stops
// that server first.
//
// PostgreSQL refuses to run as root: if this process runs as root, the server runs as another user (the run user). If the run
// user cannot access the folder, the cluster is stored in another folder, the fallback folder, whose path is in a file in the
// first folder.
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
	"sori.internal/shared/wait"
)

const (
	admin = "postgres" // the name of the superuser, and of the database that every cluster has
	owner = "sori"     // the name of the services' role, and of its database

	maxConnections = 300
	stopGrace      = 10 * time.Second
	quitGrace      = 5 * time.Second

	// settleLimit is how long a start waits for the child processes of a killed server. They exit by themselves, and until
	// then a new server cannot start.
	settleLimit = 10 * time.Second
)

// Options are the settings of a Server.
type Options struct {
	Dir           string // an absolute path of an existing folder; the cluster is created below it
	Port          proc.Port
	AdminPassword string
	OwnerPassword string
	Fast          bool // turns fsync off, for tests: faster, but a power cut may lose data
	Log           zerolog.Logger

	FallbackDir string // the folder for clusters whose Dir the run user cannot reach; "" is /var/tmp
	Repository  string // the URL of the repository for downloads; "" is Maven Central
	Search      Search // the folders to search for binaries; the zero value is the usual folders
}

// Server is a running PostgreSQL server.
type Server struct {
	opts  Options
	place place
	lock  *proc.Lock // lock of the fallback folder; nil for a cluster in Dir
	port  int
	proc  *proc.Process
}

// Start starts the server and returns when it answers queries. It creates the cluster and the database if they do not exist.
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

// launch starts the server. After a crash it retries until settleLimit: as long as a process of the crashed server lives, a
// new server does not start, because the old shared memory is still in use.
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
		if wait.For(ctx, 100*time.Millisecond) != nil {
			return context.Cause(ctx)
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
		OnParentDeath: syscall.SIGINT, // the fast shutdown: closes connections and writes the data
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
	// In shared memory of the system, which is faster than a file on a disk, the segments of a killed server remain until the
	// same cluster starts again. Tests kill servers and remove their clusters.
	flush, segments := "on", "posix"
	if s.opts.Fast {
		flush, segments = "off", "mmap"
	}
	settings := [][2]string{
		{"listen_addresses", proc.Host},
		{"port", strconv.Itoa(s.port)},
		{"unix_socket_directories", ""}, // no socket: its path is limited to about a hundred bytes, and Dir may be longer
		{"max_connections", strconv.Itoa(maxConnections)},
		{"shared_buffers", "128MB"},
		{"dynamic_shared_memory_type", segments},
		{"fsync", flush},
		{"full_page_writes", flush},
		// On even if Fast is set: otherwise a commit is for a while only in shared memory, and a killed server loses it. Without
		// fsync it costs only a write.
		{"synchronous_commit", "on"},
		{"logging_collector", "off"},
		{"log_destination", "stderr"},
		{"log_line_prefix", ""}, // no prefix: the logger adds the time
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

// environment returns the whole environment of PostgreSQL's programs. It contains no PG* variables of the caller, which would
// change the programs' settings.
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

// URL returns the URL of the services' database, with the credentials of its owner.
func (s *Server) URL() string { return s.url(owner, s.opts.OwnerPassword, owner) }

// AdminURL returns the URL with the credentials of the superuser, who may create databases.
func (s *Server) AdminURL() string { return s.url(admin, s.opts.AdminPassword, admin) }

// Port returns the port on which the server listens.
func (s *Server) Port() int { return s.port }

// PID returns the process ID of the server's main process (the postmaster).
func (s *Server) PID() int { return s.proc.PID() }

// Done returns a channel that is closed when the server has ended.
func (s *Server) Done() <-chan struct{} { return s.proc.Done() }

// Err returns why the server ended, or nil while it runs.
func (s *Server) Err() error { return s.proc.Err() }

// Stop stops the server and returns when its processes have exited. A second call does nothing.
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

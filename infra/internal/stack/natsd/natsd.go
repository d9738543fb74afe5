// Package natsd runs a NATS server with JetStream on the loopback address, within this process or, so that it can be
// killed and paused, as a child; alone or, with others, as a cluster.
//
// In any case it flushes its store once a second (a power cut may cost the last second, a killed process costs nothing),
// and Stop returns when the store is closed.
package natsd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"sori.internal/infra/internal/stack/flock"
	"sori.internal/infra/internal/stack/loopback"
	"sori.internal/infra/internal/stack/proc"
)

// Role is the name of the part that a re-executed binary plays.
const Role = "nats"

// name is that of a server which stands alone, and of a cluster.
const name = "sori"

const (
	syncInterval = time.Second
	readyLimit   = 2 * time.Minute // a server that cannot start says so at once
	stopGrace    = 10 * time.Second

	// maxStore is a limit on accounting, not a reservation of disk: streams that ask for room are refused beyond it.
	// The default, a share of the free disk, would let the number of test streams depend on the machine.
	maxStore  = 1 << 40
	maxMemory = 1 << 30
)

// Options say how to run the server.
type Options struct {
	Dir        string // an absolute path; the store's
	Port       loopback.Port
	MaxPayload int32 // 0 is the server's own default of 1 MiB, what other installations run with
	Child      bool
	Log        zerolog.Logger

	// Member makes the server one of a cluster, on the member's own ports; the zero value stands alone.
	Member  Member
	Cluster Cluster // of which it is one
}

// settings is what a child needs to know.
type settings struct {
	Dir        string
	Port       int
	MaxPayload int32

	Member  Member
	Cluster Cluster
}

// Server is a running NATS server.
type Server struct {
	port int
	proc *proc.Process  // of the two
	ns   *server.Server // one is set
	done chan struct{}
}

// Start starts the server and returns when it accepts clients and its store is recovered.
func Start(ctx context.Context, opts Options) (*Server, error) {
	srv := &Server{done: make(chan struct{})}
	if opts.Member != (Member{}) {
		opts.Port = loopback.Port{Fixed: opts.Member.Port}
	}
	err := loopback.With(ctx, opts.Port, func(port int) error {
		set := settings{Dir: opts.Dir, Port: port, MaxPayload: opts.MaxPayload, Member: opts.Member, Cluster: opts.Cluster}
		srv.port = port
		if opts.Child {
			var err error
			srv.proc, err = proc.StartSelf(ctx, Role, set, opts.Log)
			return err
		}
		lock, err := hold(ctx, set.Dir)
		if err != nil {
			return err
		}
		if srv.ns, err = run(set, opts.Log); err != nil {
			return errors.Join(err, lock.Release())
		}
		go func() {
			srv.ns.WaitForShutdown()
			_ = lock.Release() // the store is closed, nothing is left to be lost
			close(srv.done)
		}()
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("start nats: %w", opts.Member.blame(err))
	}

	return srv, nil
}

// hold keeps the store for one server. A child whose parent was killed may take a moment to close it.
func hold(ctx context.Context, dir string) (*flock.Lock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create store: %w", err)
	}

	return flock.Wait(ctx, filepath.Join(dir, "lock"), stopGrace)
}

// RunRole is the child's part.
func RunRole(ctx context.Context, config json.RawMessage, ready func()) error {
	var set settings
	if err := json.Unmarshal(config, &set); err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	lock, err := hold(ctx, set.Dir)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Release() }()
	ns, err := run(set, zerolog.New(zerolog.NewConsoleWriter(plain)))
	if err != nil {
		return err
	}
	ready()
	stop := context.AfterFunc(ctx, ns.Shutdown)
	defer stop()
	ns.WaitForShutdown()

	return nil
}

func run(set settings, log zerolog.Logger) (*server.Server, error) {
	opts := &server.Options{
		ServerName: cmp.Or(set.Member.Name, name),
		Host:       loopback.Host,
		Port:       set.Port,
		NoSigs:     true,
		MaxPayload: set.MaxPayload,

		JetStream:          true,
		JetStreamMaxStore:  maxStore,
		JetStreamMaxMemory: maxMemory,
		StoreDir:           filepath.Clean(set.Dir),
		SyncInterval:       syncInterval,
	}
	set.Member.join(set.Cluster, opts)
	ns, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("configure: %w", err)
	}
	adapter := newLogger(log)
	ns.SetLoggerV2(adapter, false, false, false)
	ns.Start()
	ready := make(chan bool, 1)
	go func() { ready <- ns.ReadyForConnections(readyLimit) }()
	select {
	case ok := <-ready:
		if err = adapter.failure(); err == nil && !ok {
			err = errors.New("not ready in time")
		}
	case <-adapter.failed: // it would wait out the limit
		err = adapter.failure()
	}
	if err == nil && !ns.JetStreamEnabled() {
		err = errors.New("its store did not open")
	}
	if err != nil {
		ns.Shutdown()
		ns.WaitForShutdown()
		return nil, err
	}

	return ns, nil
}

// URL is where clients connect.
func (s *Server) URL() string { return url(s.port) }

func url(port int) string { return "nats://" + loopback.Address(port) }

// Port is the port that it listens on.
func (s *Server) Port() int { return s.port }

// PID is the child's number, 0 for a server within this process.
func (s *Server) PID() int {
	if s.proc == nil {
		return 0
	}

	return s.proc.PID()
}

// Done is closed when the server has ended.
func (s *Server) Done() <-chan struct{} {
	if s.proc != nil {
		return s.proc.Done()
	}

	return s.done
}

// Err tells why it ended.
func (s *Server) Err() error {
	if s.proc != nil {
		return s.proc.Err()
	}
	select {
	case <-s.done:
		return errors.New("the server shut itself down")
	default:
		return nil
	}
}

// Stop ends the server and returns when its store is closed; a second call finds nothing to do.
func (s *Server) Stop(ctx context.Context) error {
	if s.proc != nil {
		s.proc.Stop(ctx, proc.Step{Grace: stopGrace}, proc.Step{Signal: syscall.SIGTERM, Grace: time.Second})
		return nil
	}
	s.ns.Shutdown()
	<-s.done // it has its own limits, and a store must not be open when somebody else takes the folder

	return nil
}

// Package natsd runs a NATS server with JetStream on the loopback address, as a process of its own, which can be killed
// and paused; alone or, with others, as a cluster. The package parts is what runs in that process.
//
// The server flushes its store once a second (a power cut may cost the last second, a killed process costs nothing), and
// Stop returns when the store is closed.
package natsd

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/infra/internal/stack/loopback"
	"sori.internal/infra/internal/stack/proc"
)

// Role is the name of the part that the server's process plays.
const Role = "nats"

const stopGrace = 10 * time.Second

// Options say how to run the server.
type Options struct {
	Dir        string // an absolute path; the store's
	Port       loopback.Port
	MaxPayload int32 // 0 is the server's own default of 1 MiB, what other installations run with
	Log        zerolog.Logger

	// Member makes the server one of a cluster, on the member's own ports; the zero value stands alone.
	Member  Member
	Cluster Cluster // of which it is one
}

// Settings is what the server's process needs to know.
type Settings struct {
	Dir        string
	Port       int
	MaxPayload int32

	Member  Member
	Cluster Cluster
}

// Server is a running NATS server.
type Server struct {
	port int
	proc *proc.Process
}

// Start starts the server and returns when it accepts clients and its store is recovered.
func Start(ctx context.Context, opts Options) (*Server, error) {
	srv := &Server{}
	if opts.Member != (Member{}) {
		opts.Port = loopback.Port{Fixed: opts.Member.Port}
	}
	err := loopback.With(ctx, opts.Port, func(port int) (err error) {
		srv.port = port
		srv.proc, err = proc.StartPart(ctx, Role, Settings{
			Dir: opts.Dir, Port: port, MaxPayload: opts.MaxPayload, Member: opts.Member, Cluster: opts.Cluster,
		}, opts.Log)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("start nats: %w", opts.Member.blame(err))
	}
	return srv, nil
}

// URL is where clients connect.
func (s *Server) URL() string { return URL(s.port) }

// URL is where a server on a port is.
func URL(port int) string { return "nats://" + loopback.Address(port) }

// Port is the port that it listens on.
func (s *Server) Port() int { return s.port }

// PID is the number of its process.
func (s *Server) PID() int { return s.proc.PID() }

// Done is closed when the server has ended.
func (s *Server) Done() <-chan struct{} { return s.proc.Done() }

// Err tells why it ended.
func (s *Server) Err() error { return s.proc.Err() }

// Stop ends the server and returns when its store is closed; a second call finds nothing to do.
func (s *Server) Stop(ctx context.Context) error {
	s.proc.Stop(ctx, proc.Step{Grace: stopGrace}, proc.Step{Signal: syscall.SIGTERM, Grace: time.Second})
	return nil
}

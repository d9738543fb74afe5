// Package s3d runs an S3 server over a folder, on the loopback address.
//
// The server (versitygw with its posix backend) changes the working directory of its whole process and allows one
// instance in it, so it always runs in a process of its own; the package parts is what runs there. An object becomes visible at once and whole,
// and nothing is flushed to the disk before the answer: a killed server loses nothing, a power cut may.
package s3d

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/infra/internal/stack/loopback"
	"sori.internal/infra/internal/stack/proc"
)

// Role is the name of the part that the server's process plays.
const Role = "s3"

// HealthPath cannot hide a bucket: no bucket is called "-".
const HealthPath = "/-/health"

const stopGrace = 2 * time.Second

// Options say how to run the server.
type Options struct {
	Dir       string // an absolute path; objects and, without extended attributes, their metadata live below it
	Port      loopback.Port
	AccessKey string
	SecretKey string
	Region    string
	Log       zerolog.Logger
}

// Settings is what the server's process needs to know. It travels through a pipe: arguments and environment can be read
// by others.
type Settings struct {
	Dir                  string
	Address              string
	AccessKey, SecretKey string
	Region               string
}

// Server is a running S3 server.
type Server struct {
	port int
	proc *proc.Process
}

// Start starts the server and returns when it answers.
func Start(ctx context.Context, opts Options) (*Server, error) {
	set := Settings{Dir: opts.Dir, AccessKey: opts.AccessKey, SecretKey: opts.SecretKey, Region: opts.Region}
	srv := &Server{}
	err := loopback.With(ctx, opts.Port, func(port int) error {
		set.Address = loopback.Address(port)
		srv.port = port
		var err error
		srv.proc, err = proc.StartPart(ctx, Role, set, opts.Log)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("start s3: %w", err)
	}
	if err = srv.answers(ctx); err != nil {
		srv.proc.Stop(ctx)
		return nil, fmt.Errorf("start s3: %w", err)
	}
	return srv, nil
}

// answers asks once: the child has reported that it listens.
func (s *Server) answers(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint()+HealthPath, http.NoBody)
	if err != nil {
		return fmt.Errorf("ask for health: %w", err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("ask for health: %w", err)
	}
	defer resp.Body.Close()
	if _, err = io.Copy(io.Discard, resp.Body); err != nil {
		return fmt.Errorf("ask for health: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask for health: status %d", resp.StatusCode)
	}
	return nil
}

// Endpoint is the server's base URL.
func (s *Server) Endpoint() string { return "http://" + loopback.Address(s.port) }

// Port is the port that it listens on.
func (s *Server) Port() int { return s.port }

// PID is the child's number.
func (s *Server) PID() int { return s.proc.PID() }

// Done is closed when the server has ended.
func (s *Server) Done() <-chan struct{} { return s.proc.Done() }

// Err tells why it ended.
func (s *Server) Err() error { return s.proc.Err() }

// Stop ends the server; a second call finds nothing to do. Requests get a moment to finish.
func (s *Server) Stop(ctx context.Context) error {
	s.proc.Stop(ctx, proc.Step{Grace: stopGrace}, proc.Step{Signal: syscall.SIGTERM, Grace: time.Second})
	return nil
}

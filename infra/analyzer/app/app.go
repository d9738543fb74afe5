// Package app assembles the analysis server: New takes settings, and returns a Server with a Run method.
//
// The binary, the local runner and the tests run the same code. A server listens on the configured address or on a
// given listener, signals when it is ready (Ready), and can be made to misbehave at run time (Behave).
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/infra/analyzer/internal/api"
	"sori.internal/infra/analyzer/internal/decode"
	"sori.internal/infra/analyzer/internal/job"
	"sori.internal/infra/analyzer/internal/pipeline"
	"sori.internal/infra/analyzer/internal/source"
	"sori.internal/infra/analyzer/internal/worker"
)

// ErrConfig means that a setting is not valid.
var ErrConfig = errors.New("bad setting")

// RunChild analyses recordings for a Server if this process was started as a worker. It then returns true, and the
// caller must exit with the code. In any other process it does nothing and returns false. The main of a program with a
// Server must call RunChild first, unless Config.Worker names another program.
func RunChild() (ran bool, code int) { return worker.RunChild() }

// Server is one analysis server. Its methods are safe for concurrent use. Run may be called only once.
type Server struct {
	cfg       Config
	log       zerolog.Logger
	fetcher   *source.Fetcher
	decoder   *decode.Program
	measurer  *worker.Measurer
	notifier  *job.Notifier
	jobs      *job.Manager
	behaviour *job.BehaviourState
	handler   http.Handler
	healthy   atomic.Bool
	ready     chan struct{}
	address   net.Addr // written before ready is closed, read only afterwards
}

// New assembles a server. It starts nothing and does not listen.
func New(cfg Config) (*Server, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	log, err := cfg.logger()
	if err != nil {
		return nil, err
	}
	fetcher, err := source.New(source.Settings{
		Timeout: cfg.FetchTimeout, Attempts: cfg.FetchAttempts, Backoff: cfg.FetchBackoff,
		TempDir: cfg.TempDir, Hosts: cfg.FetchHosts, Endpoint: cfg.S3Endpoint, Region: cfg.Region, AccessKey: cfg.AccessKey, SecretKey: cfg.SecretKey.Reveal(),
	})
	if err != nil {
		return nil, fmt.Errorf("set up fetching: %w", err)
	}
	s := &Server{cfg: cfg, log: log, fetcher: fetcher, behaviour: &job.BehaviourState{}, ready: make(chan struct{})}
	if err := s.behaviour.Set(cfg.Behaviour); err != nil {
		return nil, fmt.Errorf("set up behaviour: %w", err)
	}
	s.notifier = job.NewNotifier(job.WebhookSettings{
		Attempts: cfg.WebhookAttempts, Backoff: cfg.WebhookBackoff, MaxBackoff: cfg.WebhookMaxBackoff,
		Timeout: cfg.WebhookTimeout, Concurrency: cfg.WebhookParallel,
	})
	s.decoder = decode.NewProgram(cfg.Decoder, cfg.DecoderCache)
	s.measurer = worker.New(worker.Settings{
		Program: cfg.Worker, Processes: cfg.concurrency(), Decoder: s.decoder, DecoderMemory: cfg.DecoderMemory,
		MaxSeconds: cfg.MaxAudioSeconds, MaxPitchPoints: cfg.MaxPitchPoints,
	})
	work := pipeline.New(pipeline.Settings{Places: cfg.FetchConcurrency, MaxBytes: cfg.MaxAudioBytes}, fetcher, s.measurer)
	s.jobs = job.NewManager(job.Settings{
		QueueSize: cfg.QueueSize, Grace: cfg.ShutdownTimeout,
		Retention: job.Retention{Jobs: cfg.RetainJobs, Bytes: cfg.RetainBytes, Age: cfg.RetainFor},
	}, work.Analyse, s.notifier, s.behaviour, log)
	s.handler = (&api.API{
		Jobs: s.jobs, Behaviour: s.behaviour, Adjustable: cfg.BehaviourAPI, RetryAfter: cfg.QueueRetryAfter,
		Ready: &s.healthy, Storage: fetcher.CheckStorage, Log: log,
	}).Handler()
	return s, nil
}

// Run loads the settings with lookup, and runs a server until ctx ends. The main function of the binary calls Run.
func Run(ctx context.Context, lookup func(string) (string, bool), logOut io.Writer) error {
	cfg, err := Load(lookup)
	if err != nil {
		return err
	}
	cfg.LogOut = logOut
	s, err := New(cfg)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// Ready returns a channel that is closed once the server listens.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addr returns the address on which the server listens. It is nil before Ready is closed.
func (s *Server) Addr() net.Addr {
	select {
	case <-s.ready:
		return s.address
	default:
		return nil
	}
}

// URL returns the base URL of the server for clients on this machine, without a trailing slash. It is empty before
// Ready is closed.
func (s *Server) URL() string {
	tcp, ok := s.Addr().(*net.TCPAddr)
	if !ok {
		return ""
	}
	host := "127.0.0.1"
	if !tcp.IP.IsUnspecified() {
		host = tcp.IP.String()
	}
	return "http://" + net.JoinHostPort(host, fmt.Sprint(tcp.Port))
}

// Behave replaces the behaviour for jobs that are accepted from now on.
func (s *Server) Behave(b Behaviour) error {
	if err := s.behaviour.Set(b); err != nil {
		return fmt.Errorf("change behaviour: %w", err)
	}
	return nil
}

// Behaviour returns the current behaviour.
func (s *Server) Behaviour() Behaviour { return s.behaviour.Get() }

func (s *Server) work(ctx context.Context) error {
	defer s.notifier.Close()
	defer s.fetcher.Close()
	defer s.measurer.Close()
	var preparing sync.WaitGroup
	defer preparing.Wait()
	preparing.Go(func() { s.prepare(ctx) })
	if err := s.jobs.Run(ctx); err != nil {
		return fmt.Errorf("run jobs: %w", err)
	}
	return nil
}

// prepare builds the decoder program if necessary, so that the first recording need not wait for the build.
func (s *Server) prepare(ctx context.Context) {
	if _, err := s.decoder.Find(ctx); err != nil && ctx.Err() == nil {
		s.log.Error().Err(err).Msg("no decoder: recordings other than plain WAV will fail")
	}
}

// Run listens and works until ctx ends. Then readiness turns false, the server accepts no more requests, and Run waits
// for unfinished jobs up to the shutdown timeout. Jobs that are unfinished after that are dropped. Run returns nil if
// ctx has ended.
func (s *Server) Run(ctx context.Context) error {
	listener, err := s.listen(ctx)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: s.handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	var running sync.WaitGroup
	var workErr error
	running.Go(func() { workErr = s.work(work) })
	served := make(chan error, 1)
	running.Go(func() { served <- server.Serve(listener) })

	s.address = listener.Addr()
	s.healthy.Store(true)
	close(s.ready)
	s.log.Info().Stringer("addr", s.address).Msg("analyzer ready")
	select {
	case err = <-served:
		err = fmt.Errorf("serve http: %w", err)
	case <-ctx.Done():
	}
	s.healthy.Store(false)
	s.stop(server) //nolint:contextcheck // stopping needs a deadline of its own
	stopWork()
	running.Wait()
	s.log.Info().Msg("analyzer stopped")
	return errors.Join(err, workErr)
}

// listen returns Config.Listener, or a new listener on Config.HTTPAddr if Config.Listener is nil.
func (s *Server) listen(ctx context.Context) (net.Listener, error) {
	if s.cfg.Listener != nil {
		return s.cfg.Listener, nil
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", s.cfg.HTTPAddr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", s.cfg.HTTPAddr, err)
	}
	return listener, nil
}

// stop waits until open requests have finished, and closes those that exceed the shutdown timeout.
func (s *Server) stop(server *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.ShutdownTimeout) // the context of Run may have ended
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		s.log.Warn().Err(err).Msg("requests cut off by shutdown")
		_ = server.Close()
	}
}

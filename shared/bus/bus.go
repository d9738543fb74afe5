// Package bus connects the services to NATS JetStream: it publishes events and consumes them, reads
// streams, and broadcasts messages that no stream stores.
//
// It guarantees:
//
//  1. Consume and ConsumeBatches alone settle each handled message: they ack it, redeliver it, or
//     store it as a dead letter, depending on the error that its handler returned. Handlers never
//     ack.
//  2. A message that no retry can process is stored as a dead letter before it is terminated.
//  3. A call that waits for a response of the server fails with fault.Unavailable if there is none
//     within a few seconds, even if its context allows more. Only Bus.Replay may wait longer.
//
// Other packages are built on it: joblog reads and appends the logs of jobs, staging stores large
// bodies, deadletter lists and replays dead letters, and coordination stores state that the
// replicas of a service share.
package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
)

// Config describes how a service connects to NATS, and how much its streams may store. Each subject
// with a stored message needs about 0.5 KB of the server's memory, and a job has about five
// subjects: a week with a million jobs a day needs about 17 GB.
//
// The field Provision determines whether the client creates and updates the streams, consumers and
// buckets that it needs. If it is false, another program does so (Bus.Provision): the client needs
// no permission to create or update them, and waits for those that do not exist.
type Config struct {
	Connection
	Provision       bool          `env:"NATS_PROVISION" envDefault:"true"`
	Replicas        int           `env:"NATS_REPLICAS" envDefault:"1"`
	JobsMaxAge      time.Duration `env:"JOBS_MAX_AGE" envDefault:"168h"`
	JobsMaxBytes    int64         `env:"JOBS_MAX_BYTES" envDefault:"4294967296"`
	StagingMaxBytes int64         `env:"STAGING_MAX_BYTES" envDefault:"10737418240"`
	ResultTTL       time.Duration `env:"RESULT_CACHE_TTL" envDefault:"24h"` // how long results stay cached; 0: results are not cached
	ResultMaxBytes  int64         `env:"RESULT_CACHE_BYTES" envDefault:"1073741824"`
}

// Check implements config.Checker.
func (c *Config) Check() error {
	var broken error
	if c.Replicas < 1 || c.Replicas > 5 {
		broken = errors.Join(broken, errors.New("NATS_REPLICAS must be from 1 to 5"))
	}
	if c.JobsMaxAge < event.Jobs().Duplicates { // NATS refuses a deduplication window that is longer
		broken = errors.Join(broken, errors.New("JOBS_MAX_AGE must be at least 5m"))
	}
	if c.JobsMaxBytes <= 0 || c.StagingMaxBytes <= 0 {
		broken = errors.Join(broken, errors.New("JOBS_MAX_BYTES and STAGING_MAX_BYTES must be positive"))
	}
	if c.ResultTTL != 0 && c.ResultTTL < time.Second || c.ResultMaxBytes <= 0 {
		broken = errors.Join(broken, errors.New("RESULT_CACHE_TTL must be 0 or at least 1s, and RESULT_CACHE_BYTES must be positive"))
	}
	return broken
}

// requestTimeout limits how long one request to the server may take.
const requestTimeout = 5 * time.Second

// withTimeout limits one request to the server, even if the caller's context allows more. The
// client library limits only contexts without a deadline. A cluster loses requests: it never
// answers a request that a leader received before it failed, or that arrives before the next
// election. If the request is repeated, the cluster answers it.
func withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, requestTimeout)
}

// Bus is a connection to NATS in one namespace. It is safe for concurrent use.
type Bus struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	cfg    Config
	source string
	log    zerolog.Logger

	reconnected waiters
	unconnected atomic.Pointer[error] // error of the last attempt to reconnect; nil if none has failed
	handles     sync.Map              // cached values of type jetstream.Stream, by the name of the stream
	defects     defects
	replicated  sync.Map // names of the buckets whose number of replicas was compared with the settings
}

// Open prepares the connection of a service. The name of the service becomes the header ce-source
// of its events. Open does not wait for the server: it connects in the background, and reconnects
// until Close.
func Open(cfg Config, service string, log zerolog.Logger) (*Bus, error) {
	b := &Bus{cfg: cfg, source: "/" + service, log: log}
	nc, err := cfg.Dial(service,
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		// The client also reconnects after an authentication error: the server may accept the user
		// after it has reloaded its configuration.
		nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(250*time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, 250*time.Millisecond),
		nats.PingInterval(5*time.Second), // a server that hangs is noticed within ten seconds
		nats.MaxPingsOutstanding(2),
		// A server that stops reading blocks a write, and every other user of the connection. A flush
		// that takes too long fails, and the connection is replaced.
		nats.FlusherTimeout(requestTimeout),
		nats.ReconnectOnFlusherError(),
		// Reading a job's log allocates a queue of this length, and a log has few messages: the default
		// of 65536 would need half a megabyte each time.
		nats.SyncQueueLen(512),
		nats.ReconnectBufSize(-1), // publishing fails at once while disconnected; nothing is buffered
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn().Err(err).Msg("bus connection lost")
			}
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { b.unconnected.Store(&err) }),
		nats.ReconnectHandler(func(*nats.Conn) {
			log.Info().Msg("bus connection restored")
			b.reconnected.wakeAll()
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			level := zerolog.WarnLevel
			if errors.Is(err, nats.ErrPermissionViolation) { // no retry helps: the request only times out
				level = zerolog.ErrorLevel
			}
			log.WithLevel(level).Err(err).Msg("bus reported an error")
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("open bus: %w", err)
	}
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(requestTimeout))
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("open bus: %w", err)
	}
	b.nc, b.js = nc, js
	return b, nil
}

// Close flushes the broadcasts and closes the connection. It returns nil even if the server is
// unavailable, since the server has acknowledged every event that a caller relies on.
func (b *Bus) Close() error {
	if err := b.nc.FlushTimeout(time.Second); err != nil {
		b.log.Debug().Err(err).Msg("bus closed without a flush")
	}
	b.nc.Close()
	return nil
}

// Ping sends a request to the server and waits for the response. It fails with fault.Unavailable if
// no response arrives.
func (b *Bus) Ping(ctx context.Context) error {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	if err := b.nc.FlushWithContext(ctx); err != nil {
		if cause := b.notConnected(); cause != nil {
			err = fmt.Errorf("%w: %w", err, cause)
		}
		return fault.Unreachable("message bus", fmt.Errorf("ping the bus: %w", err))
	}
	return nil
}

// notConnected returns why there is no connection, such as a wrong password, or nil if there is
// one. The client library reports a refused user only in LastError, and a server that it cannot
// reach only to the handler that sets b.unconnected.
func (b *Bus) notConnected() error {
	if b.nc.IsConnected() {
		return nil
	}
	if err := b.nc.LastError(); err != nil {
		return err //nolint:wrapcheck // Ping wraps it
	}
	if err := b.unconnected.Load(); err != nil {
		return *err
	}
	return nil
}

// MaxPayload returns the size of the largest message that the server accepts, in bytes.
func (b *Bus) MaxPayload() int64 { return b.nc.MaxPayload() }

// Clustered reports whether streams have several replicas, which may lag behind their leader.
func (b *Bus) Clustered() bool { return b.cfg.Replicas > 1 }

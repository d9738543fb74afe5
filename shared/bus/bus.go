// Package bus connects the services to NATS JetStream: it publishes and consumes events, appends
// to the log of a job, stages bytes, and keeps dead letters.
//
// It guarantees:
//
//  1. A job's log is linear. A state event is appended only if the log still ends with the event
//     that its publisher acted on (Append, Decide). Of several writers exactly one wins each step;
//     the others get a conflict.
//  2. Every message is settled once, by one function, from the error that its handler returned
//     (Consume). Handlers never ack.
//  3. A message that no retry can process is stored as a dead letter before it is terminated
//     (DeadLetters). An operator can have its consumer handle the event again (Replay).
package bus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"reflect"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"sori.internal/shared/config"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
)

// Config is how a service reaches NATS and how long its streams keep what they
// hold. A retained subject costs about 0.5 KB of server memory and a job has
// about five, so a week of a million jobs a day needs about 17 GB there.
type Config struct {
	URL             config.Secret   `env:"NATS_URL,required"`
	Namespace       event.Namespace `env:"NATS_NAMESPACE"`
	Replicas        int             `env:"NATS_REPLICAS" envDefault:"1"`
	JobsMaxAge      time.Duration   `env:"JOBS_MAX_AGE" envDefault:"168h"`
	JobsMaxBytes    int64           `env:"JOBS_MAX_BYTES" envDefault:"4294967296"`
	StagingMaxBytes int64           `env:"STAGING_MAX_BYTES" envDefault:"10737418240"`
}

// Check implements config.Checker.
func (c *Config) Check() error {
	broken := c.Namespace.Check()
	if c.Replicas < 1 || c.Replicas > 5 {
		broken = errors.Join(broken, errors.New("NATS_REPLICAS must be from 1 to 5"))
	}
	if c.JobsMaxAge <= 0 || c.JobsMaxBytes <= 0 || c.StagingMaxBytes <= 0 {
		broken = errors.Join(broken, errors.New("JOBS_MAX_AGE, JOBS_MAX_BYTES and STAGING_MAX_BYTES must be positive"))
	}
	return broken
}

// requestTimeout bounds one exchange with the server.
const requestTimeout = 5 * time.Second

// within bounds one exchange with the server, whatever its caller allows. The
// client library bounds only what has no deadline at all, and a cluster loses
// requests: those that its leader took before it fell, and those that come before
// another leader is elected, are never answered. Whoever asks again is.
func within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, requestTimeout)
}

// Bus is a connection to NATS in one namespace. It is safe for concurrent use.
type Bus struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	cfg    Config
	source string
	log    zerolog.Logger

	buffers     chunkBuffers
	reconnected bell
}

// Open prepares a connection for a service, which ce-source names. It does not
// wait for the server: the connection is made, and made again, in the background
// for as long as it takes.
func Open(cfg Config, service string, log zerolog.Logger) (*Bus, error) {
	b := &Bus{cfg: cfg, source: "/" + service, log: log}
	nc, err := nats.Connect(cfg.URL.Reveal(),
		nats.Name(service),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250*time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, 250*time.Millisecond),
		nats.PingInterval(5*time.Second), // a paused server is noticed within ten
		nats.MaxPingsOutstanding(2),
		// A server that takes nothing blocks a write, and with it everybody who uses
		// the connection. One that was cut short is made anew.
		nats.FlusherTimeout(requestTimeout),
		nats.ReconnectOnFlusherError(),
		// A log has few messages, and reading one makes a queue of this length:
		// the default of 65536 costs half a megabyte each time.
		nats.SyncQueueLen(512),
		nats.ReconnectBufSize(-1), // publish fails at once while away, rather than pile up
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn().Err(err).Msg("bus connection lost")
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) {
			log.Info().Msg("bus connection restored")
			b.reconnected.ring()
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			log.Warn().Err(err).Msg("bus reported an error")
		}),
	)
	if _, quoted := errors.AsType[*url.Error](err); quoted {
		return nil, errors.New("open bus: NATS_URL is not a valid URL") // the cause quotes it and its password
	}
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

// Close ends the connection after what was broadcast has been flushed. A server
// that is away is no failure: what must be durable was acknowledged before.
func (b *Bus) Close() error {
	if err := b.nc.FlushTimeout(time.Second); err != nil {
		b.log.Debug().Err(err).Msg("bus closed without a flush")
	}
	b.nc.Close()
	return nil
}

// Ready checks for readiness that the leader of the log answers, and that the leader
// of staging accepts changes.
//
// After a failed write, as on a full disk, a server accepts no message for a stream
// until it is restarted. It still answers pings and requests for information, and it
// never answers a publisher. It answers a purge with the error, also of a subject that
// has no messages: Ready purges one.
func (b *Bus) Ready(ctx context.Context) error {
	if _, err := b.Extent(ctx, event.Jobs()); err != nil {
		return err
	}
	return b.Unstage(ctx, probeEntry)
}

// probeEntry names no entry of staging.
const probeEntry = "nobodys"

// Ping asks the server for an answer.
func (b *Bus) Ping(ctx context.Context) error {
	ctx, cancel := within(ctx)
	defer cancel()
	if err := b.nc.FlushWithContext(ctx); err != nil {
		return fault.Unreachable("message bus", fmt.Errorf("ping the bus: %w", err))
	}
	return nil
}

// MaxPayload is the largest message that the server takes, in bytes.
func (b *Bus) MaxPayload() int64 { return b.nc.MaxPayload() }

// Ensure makes the streams, or brings them up to these settings. It may be
// called by any number of services at once. A stream that is as it should be is
// left alone: on a cluster even an empty change is agreed on, and of several at
// once only one is answered.
func (b *Bus) Ensure(ctx context.Context, streams ...event.Stream) error {
	if err := b.checkServer(ctx); err != nil {
		return err
	}
	for _, s := range streams {
		if err := b.ensure(ctx, s); err != nil {
			return translate("ensure stream "+s.Name, err)
		}
	}
	return nil
}

func (b *Bus) ensure(ctx context.Context, s event.Stream) error {
	present, err := b.presentConfig(ctx, s)
	if err != nil {
		return err
	}
	wanted := b.streamConfig(s, present)
	if reflect.DeepEqual(wanted, present) {
		return nil
	}
	ctx, cancel := within(ctx)
	defer cancel()
	_, err = b.js.CreateOrUpdateStream(ctx, wanted)
	return err
}

// presentConfig returns how a stream is configured now; the zero value where there
// is none.
func (b *Bus) presentConfig(ctx context.Context, s event.Stream) (jetstream.StreamConfig, error) {
	ctx, cancel := within(ctx)
	defer cancel()
	stream, err := b.js.Stream(ctx, b.cfg.Namespace.Stream(s.Name))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return jetstream.StreamConfig{}, nil
	}
	if err != nil {
		return jetstream.StreamConfig{}, err
	}
	return stream.CachedInfo().Config, nil
}

// checkServer refuses a server that lacks what the bus relies on: expected
// sequences over a filter and batched direct gets came with 2.11.
func (b *Bus) checkServer(ctx context.Context) error {
	if err := b.Ping(ctx); err != nil {
		return err
	}
	var major, minor int
	version := b.nc.ConnectedServerVersion()
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err == nil && (major < 2 || major == 2 && minor < 11) {
		return fmt.Errorf("ensure streams: nats-server %s is too old, 2.11 or later is needed", version)
	}
	return nil
}

// streamConfig is how a stream should be; what is not ours to say is left as it is
// in c.
func (b *Bus) streamConfig(s event.Stream, c jetstream.StreamConfig) jetstream.StreamConfig {
	c.Name, c.Description, c.Subjects = b.cfg.Namespace.Stream(s.Name), s.Description, nil
	for _, subject := range s.Subjects {
		c.Subjects = append(c.Subjects, b.cfg.Namespace.Subject(subject))
	}
	c.Storage, c.Retention, c.Discard = jetstream.FileStorage, jetstream.LimitsPolicy, jetstream.DiscardNew
	c.Replicas, c.Duplicates, c.AllowDirect = b.cfg.Replicas, s.Duplicates, true
	c.MaxAge, c.MaxBytes = b.cfg.JobsMaxAge, b.cfg.JobsMaxBytes
	if s.Retention == event.RetainStaging {
		c.MaxBytes = b.cfg.StagingMaxBytes
	}
	if s.MaxBytes > 0 {
		c.MaxBytes = s.MaxBytes
	}
	return c
}

// translate gives a driver's error its kind. It is the one place that knows the
// codes of JetStream.
func translate(tried string, err error) error {
	if err == nil {
		return nil
	}
	wrapped := fmt.Errorf("%s: %w", tried, err)
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		switch api.ErrorCode {
		case codeWrongLastSequence, codeWrongLastSequenceConstant:
			return logConflict(wrapped)
		case codeAccountResourcesExceeded, codeInsufficientResources, codeMemoryExceeded,
			codeStorageExceeded, codeStoreFailed, codeTooManyRequests:
			return fault.AtCapacity("bus", wrapped)
		}
		if api.Code >= 500 || api.ErrorCode == codeDuplicateInProcess || api.ErrorCode == codeNoPeers {
			return fault.Unreachable("message bus", wrapped)
		}
		return wrapped
	}
	for _, away := range []error{
		nats.ErrTimeout, nats.ErrNoResponders, nats.ErrConnectionClosed, nats.ErrDisconnected,
		nats.ErrReconnectBufExceeded, nats.ErrNoServers, jetstream.ErrNoStreamResponse, context.DeadlineExceeded,
		nats.ErrHeadersNotSupported, // told of a server that was never met
		nats.ErrConnectionReconnecting, jetstream.ErrNoHeartbeat, jetstream.ErrAsyncPublishTimeout, nats.ErrStaleConnection,
		jetstream.ErrTooManyStalledMsgs, io.EOF,
	} {
		if errors.Is(err, away) {
			return fault.Unreachable("message bus", wrapped)
		}
	}
	if _, broken := errors.AsType[net.Error](err); broken { // a connection that ended under a write
		return fault.Unreachable("message bus", wrapped)
	}
	return wrapped
}

// Codes of JetStream's API errors (nats-server, server/errors.json), as far as
// the client library does not name them.
const (
	codeAccountResourcesExceeded  jetstream.ErrorCode = 10002
	codeNoPeers                   jetstream.ErrorCode = 10005 // a cluster has too few servers that are there
	codeInsufficientResources     jetstream.ErrorCode = 10023
	codeMemoryExceeded            jetstream.ErrorCode = 10028
	codeStorageExceeded           jetstream.ErrorCode = 10047
	codeWrongLastSequence         jetstream.ErrorCode = 10071
	codeStoreFailed               jetstream.ErrorCode = 10077 // among others "maximum bytes exceeded"
	codeDuplicateInProcess        jetstream.ErrorCode = 10158 // a cluster has not agreed yet on what has the same id
	codeWrongLastSequenceConstant jetstream.ErrorCode = 10164
	codeTooManyRequests           jetstream.ErrorCode = 10167
)

func logConflict(cause error) error {
	return &fault.Error{Kind: fault.Conflict, Code: "overtaken", Err: fmt.Errorf("%w: %w", event.ErrLogConflict, cause)}
}

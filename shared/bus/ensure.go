package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"sori.internal/shared/event"
)

// Ensure creates the streams, or updates those whose configuration differs. Any number of services
// may call it at once. A stream that needs no change is not updated: in a cluster even an empty
// update needs consensus, and only one of several concurrent updates gets a response. Ensure fails
// if the server is older than 2.11.
//
// Without Config.Provision, Ensure changes nothing. It fails with fault.Unavailable if a stream does
// not exist or has other subjects.
func (b *Bus) Ensure(ctx context.Context, streams ...event.Stream) error {
	if err := b.checkServer(ctx); err != nil {
		return err
	}
	for _, s := range streams {
		if _, err := b.ensure(ctx, s); err != nil {
			return translate("ensure stream "+s.Name, err)
		}
	}
	return nil
}

func (b *Bus) ensure(ctx context.Context, s event.Stream) (Action, error) {
	present, err := b.presentConfig(ctx, s)
	if err != nil {
		return Unchanged, err
	}
	wanted := b.streamConfig(s, present)
	if reflect.DeepEqual(wanted, present) {
		return Unchanged, nil
	}
	if !b.cfg.Provision {
		if present.Name == "" || !reflect.DeepEqual(wanted.Subjects, present.Subjects) {
			return Unchanged, notProvisioned("stream " + s.Name)
		}
		b.warnOfDifference("stream " + s.Name)
		return Unchanged, nil
	}
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	_, err = b.js.CreateOrUpdateStream(ctx, wanted)
	return actionOn(present.Name), explainStorage(err, wanted.MaxBytes)
}

// explainStorage adds to the error of a server that has too little storage for a stream how an operator
// can correct that: such a server reserves the whole size of a stream in advance.
func explainStorage(err error, size int64) error {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == codeStorageExceeded {
		return fmt.Errorf("NATS cannot reserve %d bytes for the stream, raise its max_file_store or lower the sizes of streams: %w", size, err)
	}
	return err
}

// presentConfig returns the configuration of a stream, or the zero value if the stream does not
// exist.
func (b *Bus) presentConfig(ctx context.Context, s event.Stream) (jetstream.StreamConfig, error) {
	ctx, cancel := withTimeout(ctx)
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

// checkServer fails if the server is older than 2.11, which introduced expected sequences with a
// subject filter and batched direct gets.
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

// unlimited is the value of a limit that a server reports for a stream without the limit.
const unlimited = -1

// unusedResults is how long results stay in the cache if the operator has turned it off. Nobody uses or
// removes them then, also not those of erased jobs.
const unusedResults = time.Minute

// streamConfig returns the configuration that a stream should have. Other settings, which operators
// may change, keep their value from c.
func (b *Bus) streamConfig(s event.Stream, c jetstream.StreamConfig) jetstream.StreamConfig {
	c.Name, c.Description, c.Subjects = b.cfg.Namespace.Stream(s.Name), s.Description, nil
	for _, subject := range s.Subjects {
		c.Subjects = append(c.Subjects, b.cfg.Namespace.Subject(subject))
	}
	c.Storage, c.Retention, c.Discard = jetstream.FileStorage, jetstream.LimitsPolicy, jetstream.DiscardNew
	c.Replicas, c.Duplicates, c.AllowDirect = b.cfg.Replicas, s.Duplicates, true
	c.MaxAge, c.MaxBytes = b.cfg.JobsMaxAge, b.cfg.JobsMaxBytes
	// A server that is killed forgets which messages this limit has removed. Earlier releases set it for
	// the uploads, whose older records are purged since.
	c.MaxMsgsPerSubject = unlimited
	c.AllowMsgTTL = c.AllowMsgTTL || s.Lifetimes // the server refuses to turn it off
	switch s.Retention {
	case event.RetainStaging:
		c.MaxBytes = b.cfg.StagingMaxBytes
	case event.RetainResults:
		c.MaxBytes, c.Discard = b.cfg.ResultMaxBytes, jetstream.DiscardOld
		c.MaxAge = cmp.Or(b.cfg.ResultTTL, unusedResults)
	}
	if s.MaxBytes > 0 {
		c.MaxBytes = s.MaxBytes
	}
	return c
}

package catalogue

import (
	"context"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/logging"
	"sori.internal/shared/wait"
)

// Outbox is a transactional outbox. It contains the deleted tokens whose deletion is not published
// yet. The transaction that deletes a token adds it to the outbox.
type Outbox interface {
	// Pending returns the oldest tokens of the outbox, at most limit.
	Pending(ctx context.Context, limit int) ([]int64, error)
	// MarkPublished removes a token from the outbox.
	MarkPublished(ctx context.Context, token int64) error
}

// Publisher publishes events.
type Publisher interface {
	Publish(ctx context.Context, e event.Event) error
}

// Relay publishes the deletions in the outbox, at least once. Every replica runs a relay. The
// deletions are published from the outbox only, so that a crash loses none.
type Relay struct {
	outbox    Outbox
	publisher Publisher
	log       zerolog.Logger
}

// NewRelay makes a relay.
func NewRelay(outbox Outbox, publisher Publisher, log zerolog.Logger) *Relay {
	return &Relay{outbox: outbox, publisher: publisher, log: log}
}

// The pauses between two reads of the outbox.
const (
	pollInterval = time.Second
	retryDelay   = 5 * time.Second // delay after a failure
)

// Run publishes deletions until ctx ends.
func (r *Relay) Run(ctx context.Context) error {
	return wait.Repeat(ctx, func(ctx context.Context) time.Duration {
		if err := r.PublishPending(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn().Err(err).Msg("deleted tokens not published yet")
			return retryDelay
		}
		return pollInterval
	})
}

// outboxBatch is how many tokens are read at once.
const outboxBatch = 100

// PublishPending publishes the deletions that are in the outbox now.
func (r *Relay) PublishPending(ctx context.Context) error {
	for {
		tokens, err := r.outbox.Pending(ctx, outboxBatch)
		if err != nil {
			return err
		}
		for _, token := range tokens {
			if err := r.publisher.Publish(ctx, event.TokenDeleted{TokenID: token}); err != nil {
				return fmt.Errorf("publish the deletion of token %d: %w", token, err)
			}
			if err := r.outbox.MarkPublished(ctx, token); err != nil {
				return err
			}
			r.log.Info().Int64(logging.TokenID, token).Msg("token deleted")
		}
		if len(tokens) < outboxBatch {
			return nil
		}
	}
}

package catalogue

import (
	"context"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/logging"
)

// DeletedTokens are the tokens of which the other services have yet to hear that
// they are deleted. The deletion itself puts a token here, both or neither.
type DeletedTokens interface {
	// Untold returns the first of them, at most limit.
	Untold(ctx context.Context, limit int) ([]int64, error)
	// Told takes a token off.
	Told(ctx context.Context, token int64) error
}

// Journal is where facts are published.
type Journal interface {
	Tell(ctx context.Context, e event.Event) error
}

// Deletions tells the other services of deleted tokens, at least once, whatever was
// away or died since the deletion. There is one way for all of them: what a crash
// leaves behind is what every deletion leaves, for any copy to find.
type Deletions struct {
	tokens  DeletedTokens
	journal Journal
	log     zerolog.Logger
}

// NewDeletions makes the part that tells of deletions.
func NewDeletions(tokens DeletedTokens, journal Journal, log zerolog.Logger) *Deletions {
	return &Deletions{tokens: tokens, journal: journal, log: log}
}

// The pauses between two looks at what is deleted: as a rule, and after one that
// failed.
const (
	lookEvery = time.Second
	lookAgain = 5 * time.Second
)

// Run tells of deletions until ctx ends.
func (d *Deletions) Run(ctx context.Context) error {
	for {
		pause := lookEvery
		if err := d.Tell(ctx); err != nil && ctx.Err() == nil {
			d.log.Warn().Err(err).Msg("deletions not told yet")
			pause = lookAgain
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// toldAtOnce is how many tokens are read at once.
const toldAtOnce = 100

// Tell tells of the tokens that are deleted now.
func (d *Deletions) Tell(ctx context.Context) error {
	for {
		tokens, err := d.tokens.Untold(ctx, toldAtOnce)
		if err != nil {
			return err
		}
		for _, token := range tokens {
			if err := d.journal.Tell(ctx, event.TokenDeleted{TokenID: token}); err != nil {
				return fmt.Errorf("tell of the deletion of token %d: %w", token, err)
			}
			if err := d.tokens.Told(ctx, token); err != nil {
				return err
			}
			d.log.Info().Int64(logging.TokenID, token).Msg("token deleted")
		}
		if len(tokens) < toldAtOnce {
			return nil
		}
	}
}

package upload

import (
	"context"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
)

// HandleExpired removes the recording of a job whose retention has passed. It may run again for the
// same event. A replica that is still copying the recording finds the event `expired` in the log
// after it has put the object, and removes the object.
func (e *Eraser) HandleExpired(ctx context.Context, expired event.Expired) error {
	if err := e.Objects.RemovePrefix(ctx, keyPrefix(expired.JobID)); err != nil {
		return err
	}
	zerolog.Ctx(ctx).Info().Msg("recording removed")
	return nil
}

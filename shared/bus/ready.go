package bus

import (
	"context"

	"sori.internal/shared/event"
)

// probeEntry is not the name of any entry of staging.
const probeEntry = "probe"

// Ready is a readiness check: the leader of the stream of jobs must respond, and the leader of
// staging must accept changes.
//
// After a failed write, for example on a full disk, a server accepts no message for a stream until
// it is restarted. It still answers pings and requests for information, but it never answers a
// publisher. It does report the error in response to a purge, even if the subject has no messages.
// Therefore Ready purges a subject without messages.
func (b *Bus) Ready(ctx context.Context) error {
	if _, err := b.Stream(event.Jobs()).Info(ctx); err != nil {
		return err
	}
	return b.Stream(event.Staging()).Purge(ctx, event.StagingFilter(probeEntry), 0)
}

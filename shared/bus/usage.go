package bus

import (
	"context"
	"sync"
	"time"

	"sori.internal/shared/event"
	"sori.internal/shared/wait"
)

// usageInterval is the time between two requests for the state of the streams.
const usageInterval = time.Second

// Usage caches how full streams are, as of about a second ago, so that Used and MaxUsed send no
// request. If a request for the state of a stream fails, the stream keeps its last value. Before
// the first response a stream counts as empty.
type Usage struct {
	bus     *Bus
	streams []event.Stream

	mu   sync.Mutex
	used map[string]float64 // used fraction of each stream, by the name of the stream
}

// NewUsage makes a cache of how full the streams are. Run keeps it up to date.
func (b *Bus) NewUsage(streams ...event.Stream) *Usage {
	return &Usage{bus: b, streams: streams, used: map[string]float64{}}
}

// Run requests the state of the streams periodically until ctx ends.
func (u *Usage) Run(ctx context.Context) error {
	return wait.Repeat(ctx, func(ctx context.Context) time.Duration {
		for _, s := range u.streams {
			u.update(ctx, s)
		}
		return usageInterval
	})
}

func (u *Usage) update(ctx context.Context, s event.Stream) {
	info, err := u.bus.Stream(s).Info(ctx)
	if err != nil { // only a debug line, since the readiness check reports an unavailable server
		u.bus.log.Debug().Err(err).Msg("stream usage not known")
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.used[s.Name] = info.Used
}

// Used returns the used fraction of a stream's limits, from 0 to 1.
func (u *Usage) Used(s event.Stream) float64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.used[s.Name]
}

// MaxUsed returns the used fraction of the fullest stream.
func (u *Usage) MaxUsed() float64 {
	var most float64
	for _, s := range u.streams {
		most = max(most, u.Used(s))
	}
	return most
}

package bus

import (
	"context"
	"sync"
	"time"

	"sori.internal/shared/event"
)

// lookEvery is the time between two looks at the streams.
const lookEvery = time.Second

// Levels knows how full streams are, as of about a second ago, so that asking costs
// nothing. What a look cannot find out is as it was; before the first look every
// stream is empty.
type Levels struct {
	bus     *Bus
	streams []event.Stream

	mu   sync.Mutex
	full map[string]float64 // by stream
}

// Levels makes the levels of streams, which Run follows.
func (b *Bus) Levels(streams ...event.Stream) *Levels {
	return &Levels{bus: b, streams: streams, full: map[string]float64{}}
}

// Run looks at the streams until ctx ends.
func (l *Levels) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		for _, s := range l.streams {
			l.look(ctx, s)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (l *Levels) look(ctx context.Context, s event.Stream) {
	extent, err := l.bus.Extent(ctx, s)
	if err != nil { // of which readiness tells
		l.bus.log.Debug().Err(err).Msg("level not found")
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.full[s.Name] = extent.Full
}

// Of tells which part of a stream's limits is taken, from 0 to 1.
func (l *Levels) Of(s event.Stream) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.full[s.Name]
}

// Fullest tells it of the fullest of the streams.
func (l *Levels) Fullest() float64 {
	var most float64
	for _, s := range l.streams {
		most = max(most, l.Of(s))
	}
	return most
}

package bus

import (
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// held is the messages of a consumer that were delivered to this process and are not settled: those
// of the batch that is being handled, and those that wait for their batch. The AckWait of either may
// expire while a batch is handled slowly. Without extend, every message would then be redelivered and
// handled again, which makes the handling even slower.
type held struct {
	mu    sync.Mutex
	since map[jetstream.Msg]time.Time // by message: when it was delivered
}

func (h *held) add(msg jetstream.Msg) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.since == nil {
		h.since = map[jetstream.Msg]time.Time{}
	}
	h.since[msg] = time.Now()
}

func (h *held) remove(msgs []jetstream.Msg) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, msg := range msgs {
		delete(h.since, msg)
	}
}

// extend notifies the server that the messages that were delivered longer than a duration ago are in
// progress. If a notice is lost, its message is redelivered.
func (h *held) extend(longer time.Duration) {
	for _, msg := range h.older(time.Now().Add(-longer)) {
		_ = msg.InProgress() // fails if the message was settled meanwhile
	}
}

func (h *held) older(than time.Time) (msgs []jetstream.Msg) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for msg, since := range h.since {
		if since.Before(than) {
			msgs = append(msgs, msg)
		}
	}
	return msgs
}

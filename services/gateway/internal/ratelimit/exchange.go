package ratelimit

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/wait"
)

const (
	interval  = 100 * time.Millisecond // time between two messages, while something changes
	fullEvery = 10                     // intervals from one message about all clients to the next

	// expiry is after how many intervals without a message a replica is forgotten. Intervals are
	// counted instead of seconds: a process that was suspended has not yet read the messages of
	// that time.
	expiry = 50
)

// BufferSize is the number of received messages that may wait to be read. Further messages are dropped.
const BufferSize = 256

// Broadcaster publishes messages to all replicas. It fails while NATS is unavailable.
type Broadcaster interface {
	Broadcast(subject string, body []byte) error
	MaxPayload() int64
}

// Subscriber receives the messages of all replicas.
type Subscriber interface {
	Subscribe(ctx context.Context, subject string) error
	Run(ctx context.Context, handle func(subject string, body []byte)) error
}

// Exchange publishes to the other replicas how much of the limits of a set the clients of this
// replica use, and counts the usage that the other replicas publish.
//
// A message contains the changes since the previous message. Once a second, a message contains all
// concurrent operations of clients: it makes up for lost messages, and informs replicas that have
// just started. Requests in a lost message do not count at other replicas.
type Exchange struct {
	set        *Set
	bus        Broadcaster
	subscriber Subscriber
	log        zerolog.Logger
	replica    string // identifies this process
	expiry     int

	intervals int  // how many intervals have passed
	failing   bool // the last message could not be published

	mu    sync.Mutex
	heard map[string]int // number of intervals since the last message of each other replica
}

// NewExchange makes an Exchange.
func NewExchange(set *Set, b Broadcaster, s Subscriber, log zerolog.Logger) *Exchange {
	return &Exchange{
		set: set, bus: b, subscriber: s, log: log, replica: rand.Text(), expiry: expiry, heard: map[string]int{},
	}
}

// Run exchanges messages until ctx ends. Then it publishes that this replica has stopped, so ctx
// should end after the server has stopped.
func (x *Exchange) Run(ctx context.Context) error {
	if err := x.subscriber.Subscribe(ctx, event.LimitsSubject); err != nil {
		return err
	}
	defer func() { x.publish(usage{Stopped: true}) }()
	stop := wait.InBackground(ctx, interval, x.report)
	defer stop()
	return x.subscriber.Run(ctx, x.receive)
}

// report publishes the counts that have changed or, every fullEvery intervals, the counts of all
// clients.
func (x *Exchange) report(context.Context) {
	x.expire()
	all := x.intervals%fullEvery == 0
	x.intervals++
	u := x.set.usage(all, x.bus.MaxPayload())
	if all || len(u.Taken)+len(u.Held) > 0 {
		x.publish(u)
	}
}

// publish publishes a message. A message that fails is not repeated, since the next message about
// all clients replaces it.
func (x *Exchange) publish(u usage) {
	u.Replica = x.replica
	body, err := json.Marshal(u)
	if err == nil {
		err = x.bus.Broadcast(event.LimitsSubject, body)
	}
	switch {
	case err != nil && !x.failing:
		x.log.Warn().Err(err).Msg("limits of clients hold in this replica only")
	case err == nil && x.failing:
		x.log.Info().Msg("limits of clients hold over all replicas again")
	}
	x.failing = err != nil
}

// receive counts the requests and operations of clients at another replica.
func (x *Exchange) receive(_ string, body []byte) {
	u, err := parse(body)
	if err != nil {
		x.log.Warn().Err(err).Msg("malformed message about the limits of clients")
		return
	}
	if u.Replica == x.replica {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if u.Stopped {
		x.forget(u.Replica)
		return
	}
	if _, known := x.heard[u.Replica]; !known && len(x.heard) >= maxReplicas {
		return
	}
	x.heard[u.Replica] = 0
	now := time.Now()
	for name, r := range x.set.rates {
		r.subtract(u.Taken[name], len(x.heard), now)
	}
	for name, c := range x.set.concurrencies {
		c.learn(u.Replica, u.Held[name], u.All)
	}
}

// expire forgets the replicas that have not reported anything for a while.
func (x *Exchange) expire() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for replica := range x.heard {
		if x.heard[replica]++; x.heard[replica] > x.expiry {
			x.forget(replica)
		}
	}
}

// forget forgets a replica. The caller must hold the lock.
func (x *Exchange) forget(replica string) {
	delete(x.heard, replica)
	for _, c := range x.set.concurrencies {
		c.lose(replica)
	}
}

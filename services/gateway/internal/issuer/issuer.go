// Package issuer fetches and caches the public keys of an OpenID provider. It finds them by
// discovery (OpenID Connect Discovery 1.0), fetches them periodically, and keeps them while the
// provider is unavailable.
//
// It guarantees:
//
//  1. One goroutine fetches, at most once in two seconds, whatever tokens arrive. Every fetch is
//     limited in size and time, and uses https, or http to this machine.
//  2. A token that names an unknown key causes one fetch, so that a rotation of the keys is noticed
//     at once. The id of a key that the provider does not have is remembered for ten seconds.
//  3. The keys of the last successful fetch are used until another fetch succeeds. Before the first
//     successful fetch, no token of the provider is accepted.
package issuer

import (
	"context"
	"crypto"
	"errors"
	"net/http"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/rs/zerolog"

	"sori.internal/services/gateway/internal/access"
	"sori.internal/shared/logging"
)

// The intervals and timeouts of fetches.
const (
	refreshInterval = 5 * time.Minute
	minInterval     = 2 * time.Second  // shortest time between two fetches
	maxRetry        = 30 * time.Second // longest time between two fetches while the provider is unavailable
	waitTimeout     = 5 * time.Second  // longest time that a request waits for a fetch
	unknownAge      = 10 * time.Second // how long an id is remembered as unknown
)

// The limits of waiting requests, and of remembered ids of unknown keys.
const (
	maxWaiting = 128
	maxUnknown = 1024
)

// key is a public key of the provider.
type key struct {
	id        string
	algorithm string // only algorithm for which the key may be used; empty if the provider names none
	public    crypto.PublicKey
}

// Keys are the keys of a provider. Run fetches them.
type Keys struct {
	issuer string
	client *http.Client
	log    zerolog.Logger
	wanted chan struct{} // requests a fetch from Run

	mu      sync.Mutex
	keys    []key         // keys of the last fetch that succeeded
	away    error         // error of the last fetch; nil if it succeeded
	current chan struct{} // closed at the end of the fetch that is under way; nil if there is none
	next    chan struct{} // closed at the end of the next fetch that begins
	waiting int
	unknown *lru.Cache[string, time.Time] // the time until which an id is remembered as unknown
}

// New makes the keys of the provider with an issuer identifier. It does not dial.
func New(issuer string, log zerolog.Logger) *Keys {
	unknown, _ := lru.New[string, time.Time](maxUnknown) // fails only if the size is not positive
	return &Keys{
		issuer: issuer, client: newClient(), log: log, wanted: make(chan struct{}, 1), unknown: unknown,
		next: make(chan struct{}), away: errNotFetched,
	}
}

var errNotFetched = errors.New("the keys of the identity provider have not been fetched yet")

// Run fetches the keys until ctx ends.
func (k *Keys) Run(ctx context.Context) error {
	retry := minInterval
	for ctx.Err() == nil {
		began := time.Now()
		k.begin()
		keys, err := k.fetch(ctx)
		k.store(keys, err)
		wait := refreshInterval
		if err == nil {
			retry = minInterval
		} else {
			wait, retry = retry, min(2*retry, maxRetry)
		}
		k.pause(ctx, began, wait)
	}
	return nil
}

// pause waits until the next fetch is due or requested, or until ctx ends. If a fetch is requested,
// pause returns at the earliest minInterval after began, the beginning of the previous fetch.
func (k *Keys) pause(ctx context.Context, began time.Time, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return
	case <-ctx.Done():
		return
	case <-k.wanted:
	}
	timer.Reset(max(0, minInterval-time.Since(began)))
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// begin records that a fetch begins. The requests for which ask returned k.next wait for its end.
func (k *Keys) begin() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.current, k.next = k.next, make(chan struct{})
	select {
	case <-k.wanted:
	default:
	}
}

// store stores the result of a fetch and wakes the requests that wait for it.
func (k *Keys) store(keys []key, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		k.keys = keys
	}
	switch known := k.away; { // logs only the first failure, and the first success after a failure
	case errors.Is(err, context.Canceled): // the gateway stops
	case err == nil && known != nil:
		k.log.Info().Int(logging.Count, len(keys)).Msg("keys of identity provider fetched")
	case err != nil && (known == nil || errors.Is(known, errNotFetched)):
		k.log.Warn().Err(err).Msg("keys of identity provider not fetched")
	}
	k.away = err
	close(k.current)
	k.current = nil
}

// Keys implements access.IssuerKeys.
func (k *Keys) Keys(ctx context.Context, id, algorithm string) ([]crypto.PublicKey, error) {
	if found := k.find(id, algorithm); len(found) > 0 {
		return found, nil
	}
	fetched, err := k.ask(id)
	if err != nil {
		return nil, err
	}
	defer k.answered()
	timer := time.NewTimer(waitTimeout)
	defer timer.Stop()
	select {
	case <-fetched:
	case <-timer.C:
	case <-ctx.Done():
	}
	return k.findAgain(id, algorithm)
}

// Knows implements access.IssuerKeys.
func (k *Keys) Knows(id, algorithm string) bool {
	return len(k.find(id, algorithm)) > 0 || k.isUnknown(id)
}

// isUnknown reports whether the provider had no key with this id a moment ago.
func (k *Keys) isUnknown(id string) bool {
	until, ok := k.unknown.Get(id)
	return ok && time.Now().Before(until)
}

// find returns the keys that have an id and suit an algorithm. If the id is empty, it returns all
// keys that suit the algorithm.
func (k *Keys) find(id, algorithm string) []crypto.PublicKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	var found []crypto.PublicKey
	for _, key := range k.keys {
		if (id == "" || key.id == id) && (key.algorithm == "" || key.algorithm == algorithm) && fits(key.public, algorithm) {
			found = append(found, key.public)
		}
	}
	return found
}

// ask requests a fetch. It returns a channel that is closed at the end of a fetch which begins
// after the request: a fetch that began before may have missed a rotation of the keys. If there are
// no keys at all, the channel is that of the fetch that is under way, if any. ask fails if the id
// was not found a moment ago, or if too many requests wait.
func (k *Keys) ask(id string) (<-chan struct{}, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.isUnknown(id) {
		return nil, access.ErrUnknownKey
	}
	if k.waiting >= maxWaiting {
		return nil, access.Unavailable(errors.New("too many requests wait for the keys of the identity provider"))
	}
	k.waiting++
	if len(k.keys) == 0 && k.current != nil {
		return k.current, nil
	}
	select {
	case k.wanted <- struct{}{}:
	default: // a fetch is requested already
	}
	return k.next, nil
}

func (k *Keys) answered() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.waiting--
}

// findAgain finds keys after a fetch. If there are none, it returns an error with the reason.
func (k *Keys) findAgain(id, algorithm string) ([]crypto.PublicKey, error) {
	if found := k.find(id, algorithm); len(found) > 0 {
		return found, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.away != nil {
		return nil, access.Unavailable(k.away)
	}
	k.unknown.Add(id, time.Now().Add(unknownAge))
	return nil, access.ErrUnknownKey
}

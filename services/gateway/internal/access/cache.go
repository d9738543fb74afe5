package access

import (
	"context"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/rs/zerolog"
	"golang.org/x/sync/singleflight"

	"sori.internal/shared/fault"
	"sori.internal/shared/principal"
)

// The limits of the cache. Requests with guessed ids can evict known keys; then the keys are
// queried again.
const (
	cacheAge     = 5 * time.Second // how long a replica may accept a key that was revoked at another replica
	cacheSize    = 4096
	maxQueries   = 4 // concurrent queries; other requests need connections to the database too
	usedInterval = time.Minute
)

// keyCache caches the keys that were used last, and the ids that do not exist.
type keyCache struct {
	store   KeyStore
	now     func() time.Time
	entries *lru.Cache[string, cacheEntry]
	loads   singleflight.Group
	queries chan struct{}
}

type cacheEntry struct {
	key   StoredKey
	known bool
	until time.Time
}

func newKeyCache(store KeyStore, now func() time.Time) *keyCache {
	entries, _ := lru.New[string, cacheEntry](cacheSize) // fails only if the size is not positive
	return &keyCache{store: store, now: now, entries: entries, queries: make(chan struct{}, maxQueries)}
}

// principal returns the principal of an API key. text is the whole key: its prefix, id and secret.
func (c *keyCache) principal(ctx context.Context, text string) (principal.Principal, error) {
	id, secret, ok := parseKey(text)
	if !ok {
		return principal.Principal{}, errKey()
	}
	entry, found := c.entries.Get(id)
	if !found || !c.now().Before(entry.until) {
		var err error
		if entry, err = c.load(ctx, id); err != nil {
			return principal.Principal{}, err
		}
	}
	if !entry.known {
		return principal.Principal{}, errKey()
	}
	p, err := entry.key.check(secret, c.now())
	if err == nil {
		c.markUsed(ctx, entry)
	}
	return p, err
}

// load reads a key from the store. Concurrent requests for the same key share one query.
func (c *keyCache) load(ctx context.Context, id string) (cacheEntry, error) {
	loaded := c.loads.DoChan(id, func() (any, error) { return c.query(context.WithoutCancel(ctx), id) })
	select {
	case r := <-loaded:
		entry, _ := r.Val.(cacheEntry)
		return entry, r.Err
	case <-ctx.Done():
		return cacheEntry{}, fault.Unreachable("database", ctx.Err())
	}
}

func (c *keyCache) query(ctx context.Context, id string) (cacheEntry, error) {
	c.queries <- struct{}{} // does not block forever: each query has a deadline
	defer func() { <-c.queries }()
	until := c.now().Add(cacheAge) // the time before the query, since the key may be revoked while the query runs
	key, err := c.store.APIKey(ctx, id)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return cacheEntry{}, err
	}
	entry := cacheEntry{key: key, known: err == nil, until: until}
	c.entries.Add(id, entry)
	return entry, nil
}

// markUsed stores the time of a key's use, at most once a minute. If this fails, the request is
// allowed all the same.
func (c *keyCache) markUsed(ctx context.Context, entry cacheEntry) {
	now := c.now()
	if last := entry.key.LastUsed; last != nil && now.Sub(*last) < usedInterval {
		return
	}
	entry.key.LastUsed = &now
	c.entries.Add(entry.key.ID, entry) // updated before the query: otherwise many concurrent requests would each store the time
	if err := c.store.MarkAPIKeyUsed(ctx, entry.key.ID); err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("use of api key not stored")
	}
}

// forget removes a key from the cache. The next request reads it from the store.
func (c *keyCache) forget(id string) { c.entries.Remove(id) }

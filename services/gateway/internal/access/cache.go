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

// The limits of the cache.
const (
	cacheAge     = 5 * time.Second // how long a replica may accept a key that was revoked at another replica
	cacheSize    = 4096            // of the known keys, and of the ids that do not exist
	maxQueries   = 4               // concurrent queries; other requests need connections to the database too
	usedInterval = time.Minute
)

// keyCache caches the keys that were used last, and the ids that do not exist. These are two caches,
// so that requests with guessed ids do not evict keys.
type keyCache struct {
	store   KeyStore
	now     func() time.Time
	keys    *lru.Cache[string, cacheEntry]
	unknown *lru.Cache[string, time.Time] // the time until which the store is not asked for an id again
	loads   singleflight.Group
	queries chan struct{}
}

type cacheEntry struct {
	key   StoredKey
	until time.Time // then the store is asked again
}

func newKeyCache(store KeyStore, now func() time.Time) *keyCache {
	keys, _ := lru.New[string, cacheEntry](cacheSize) // fails only if the size is not positive
	unknown, _ := lru.New[string, time.Time](cacheSize)
	return &keyCache{store: store, now: now, keys: keys, unknown: unknown, queries: make(chan struct{}, maxQueries)}
}

// knows reports whether this replica has found the key in the store before, or need not ask the store
// to refuse it.
func (c *keyCache) knows(text string) bool {
	id, _, ok := parseKey(text)
	return !ok || c.keys.Contains(id) || c.isUnknown(id)
}

// isUnknown reports whether the store had no key with this id a moment ago.
func (c *keyCache) isUnknown(id string) bool {
	until, found := c.unknown.Get(id)
	return found && c.now().Before(until)
}

// principal returns the principal of an API key. text is the whole key: its prefix, id and secret.
func (c *keyCache) principal(ctx context.Context, text string) (principal.Principal, error) {
	id, secret, ok := parseKey(text)
	if !ok || c.isUnknown(id) {
		return principal.Principal{}, errKey()
	}
	entry, found := c.keys.Get(id)
	if !found || !c.now().Before(entry.until) {
		var err error
		if entry, err = c.load(ctx, id); err != nil {
			return principal.Principal{}, err
		}
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
	switch {
	case fault.Is(err, fault.NotFound):
		c.keys.Remove(id)
		c.unknown.Add(id, until)
		return cacheEntry{}, errKey()
	case err != nil:
		return cacheEntry{}, err
	}
	entry := cacheEntry{key: key, until: until}
	c.keys.Add(id, entry)
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
	c.keys.Add(entry.key.ID, entry) // updated before the query: otherwise many concurrent requests would each store the time
	if err := c.store.MarkAPIKeyUsed(ctx, entry.key.ID); err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("use of api key not stored")
	}
}

// forget removes a key from the cache. The next request reads it from the store.
func (c *keyCache) forget(id string) { c.keys.Remove(id) }

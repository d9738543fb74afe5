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

// The limits of the cache. Guessed ids fill it and push known keys out of it, which costs queries and
// nothing else.
const (
	cacheAge     = 5 * time.Second // how long a replica may accept a key that another one has revoked
	cacheSize    = 4096
	maxQueries   = 4 // at once, so that guesses leave connections to the database for others
	usedInterval = time.Minute
)

// keyCache holds the keys that were used last, and the ids that do not exist.
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

// principal returns the principal of the text of a key.
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

// load asks the store, once for all requests that wait for the same key.
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
	c.queries <- struct{}{} // each query has a deadline, so that this ends
	defer func() { <-c.queries }()
	until := c.now().Add(cacheAge) // counted from before the query: the key may be revoked during it
	key, err := c.store.APIKey(ctx, id)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return cacheEntry{}, err
	}
	entry := cacheEntry{key: key, known: err == nil, until: until}
	c.entries.Add(id, entry)
	return entry, nil
}

// markUsed stores the use of a key, at most once a minute. A failure denies nobody.
func (c *keyCache) markUsed(ctx context.Context, entry cacheEntry) {
	now := c.now()
	if last := entry.key.LastUsed; last != nil && now.Sub(*last) < usedInterval {
		return
	}
	entry.key.LastUsed = &now
	c.entries.Add(entry.key.ID, entry) // first, so that of many requests at once few store it
	if err := c.store.MarkAPIKeyUsed(ctx, entry.key.ID); err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("use of api key not stored")
	}
}

// forget makes the next request ask the store.
func (c *keyCache) forget(id string) { c.entries.Remove(id) }

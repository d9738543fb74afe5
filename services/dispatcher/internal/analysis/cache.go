package analysis

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
)

// The result of an analysis is cached for uploads of the same recording, by the same owner and for
// the same token, with the same reference files and the same version of the analysis. Nothing depends
// on the cache: if it cannot be read or written, the recording is analysed.
//
// A result is cached before its job is completed, since afterwards the tracker removes large results
// from staging. A cached result is valid only if its job is completed, by the log of the job.
// Therefore a result that is left behind by a process that died is never used, and neither is the
// result of a job that is erased.

// ResultKey is the key of a result in the cache.
type ResultKey struct {
	Token int64
	Hash  string // SHA-256 of everything that determines the result, in hexadecimal
}

// CachedResult is a result in the cache.
type CachedResult struct {
	Job      string // the job whose analysis had this result
	Result   json.RawMessage
	Warnings []string
}

// ResultEntry identifies a result that was stored in the cache.
type ResultEntry struct {
	Key  ResultKey
	Job  string
	Seqs []uint64 // stream sequences of the messages in which the result is stored
	Only bool     // the cache has no older result with the same key
}

// Results is the cache of results, for all replicas.
type Results interface {
	// Find returns the newest result with a key; nil if there is none, or if it is not complete.
	Find(ctx context.Context, key ResultKey) (*CachedResult, error)
	// Put stores a result. It returns when the result is durable.
	Put(ctx context.Context, key ResultKey, r CachedResult) (ResultEntry, error)
	// Keep confirms an entry: it removes the older results with the same key.
	Keep(ctx context.Context, e ResultEntry) error
	// Undo removes an entry, and no other entry of its job.
	Undo(ctx context.Context, e ResultEntry) error
	// Remove removes the results of a job.
	Remove(ctx context.Context, job string) error
}

// Versions finds the versions of reference files.
type Versions interface {
	// Version returns the version of the file to which the reference ref points. The version
	// changes when the file is replaced.
	Version(ctx context.Context, ref string) (string, error)
}

// CacheCounts has functions that increment the counters of the cache. For each upload at most one
// of them is called.
type CacheCounts struct {
	Hit    func() // the job is completed with a cached result
	Miss   func() // the recording is analysed, since there is no cached result
	Shared func() // the job is completed with the result of an analysis that was already running
}

// versionTimeout is the time limit for finding the versions of a token's reference files.
const versionTimeout = 2 * time.Second

// Recording has the properties of an upload that determine the result of its analysis.
type Recording struct {
	Owner      string
	TokenID    int64
	SHA256     string    // hexadecimal
	References [2]string // TextGrid file and pitch file; "" if the token has none
}

// resultKey returns the cache key of the result of a recording. If the version of a reference file
// cannot be found, it returns an error, and the result is not cached.
func (d *Dispatcher) resultKey(ctx context.Context, r Recording) (ResultKey, error) {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	var (
		wg       sync.WaitGroup
		versions [len(r.References)]string
		failed   [len(r.References)]error
	)
	for i, ref := range r.References {
		if ref != "" {
			wg.Go(func() { versions[i], failed[i] = d.Versions.Version(ctx, ref) })
		}
	}
	wg.Wait()
	for i, err := range failed {
		if err != nil {
			return ResultKey{}, fmt.Errorf("find the version of %s: %w", r.References[i], err)
		}
	}
	text, err := json.Marshal([]string{"1", r.Owner, fmt.Sprint(r.TokenID), r.SHA256, versions[0], versions[1], d.options.AnalysisVersion})
	if err != nil {
		return ResultKey{}, fmt.Errorf("encode a key: %w", err)
	}
	sum := sha256.Sum256(text)
	return ResultKey{Token: r.TokenID, Hash: hex.EncodeToString(sum[:])}, nil
}

// keyOf returns the cache key of the result of a job; the zero key means that the result is not
// cached.
func (d *Dispatcher) keyOf(ctx context.Context, stored event.Stored, log event.Log) ResultKey {
	if d.Results == nil || stored.SHA256 == "" {
		return ResultKey{}
	}
	received, _ := event.Last[event.Received](log)
	key, err := d.resultKey(ctx, Recording{
		Owner: received.Owner, TokenID: stored.TokenID, SHA256: stored.SHA256,
		References: [...]string{stored.TextGridURL, stored.PitchURL},
	})
	if err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("result will not be cached")
	}
	return key
}

// CachedJob returns the job whose cached result an upload of the recording would get; "" if no
// result is cached.
func (d *Dispatcher) CachedJob(ctx context.Context, r Recording) (string, error) {
	if d.Results == nil {
		return "", nil
	}
	key, err := d.resultKey(ctx, r)
	if err != nil {
		zerolog.Ctx(ctx).Debug().Err(err).Msg("result not looked up")
		return "", nil
	}
	cached, err := d.findCached(ctx, key)
	if err != nil || cached == nil {
		return "", err
	}
	return cached.Job, nil
}

// findCached returns the cached result with a key; nil if the cache has no valid one. It returns an
// error only if NATS is unavailable, because the job could not be continued without NATS anyway.
func (d *Dispatcher) findCached(ctx context.Context, key ResultKey) (*CachedResult, error) {
	cached, err := d.Results.Find(ctx, key)
	if err != nil && !fault.Is(err, fault.Unavailable) {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("cached result not readable")
		return nil, nil
	}
	if err != nil || cached == nil {
		return nil, err
	}
	if completed, err := d.isCompleted(ctx, cached.Job); err != nil || !completed {
		return nil, err
	}
	return cached, nil
}

// isCompleted reports whether the log of a job says that the job is completed.
func (d *Dispatcher) isCompleted(ctx context.Context, job string) (bool, error) {
	newest, err := d.Jobs.Newest(ctx, job)
	if err != nil || newest == nil {
		return false, err
	}
	log := event.Log{*newest}
	if log.AudioExpired() { // the terminal event precedes expired, so the whole log is needed
		if log, err = d.Jobs.Read(ctx, job); err != nil {
			return false, err
		}
	}
	_, ok := completedBy(log)
	return ok, nil
}

// complete completes a job with a cached result, in place of an analysis. It returns false if the
// job has ended meanwhile. known is the log that the caller has read.
func (d *Dispatcher) complete(ctx context.Context, job string, cached *CachedResult, known event.Log) (bool, error) {
	disposition, err := d.appendCompleted(ctx, event.Completed{
		JobID: job, Result: cached.Result, Warnings: cached.Warnings, Cached: true, CachedFrom: cached.Job,
	}, known)
	if fault.Is(err, fault.NotFound) { // the log of the job has expired
		return false, nil
	}
	return err == nil && disposition == Recorded, err
}

// cacheResult caches the result with which an attempt is about to be completed. The entry is nil if
// the result is not cached. The log of the job is nil if it was not read.
func (d *Dispatcher) cacheResult(ctx context.Context, completed event.Completed) (*ResultEntry, event.Log) {
	if d.Results == nil {
		return nil, nil
	}
	log, err := d.Jobs.Read(ctx, completed.JobID)
	if err != nil {
		return nil, nil // the caller reads the log again and returns its error
	}
	key, ok := cacheKey(log, completed.Attempt)
	if !ok {
		return nil, log
	}
	entry, err := d.Results.Put(ctx, key, CachedResult{Job: completed.JobID, Result: completed.Result, Warnings: completed.Warnings})
	if err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Str(logging.JobID, completed.JobID).Msg("result not cached")
		return nil, log
	}
	return &entry, log
}

// confirmCached confirms a cached result if its job was completed with it (recorded), and removes
// the result otherwise. If NATS was unavailable, it is unknown whether the job is completed, and
// the result stays in the cache: findCached ignores it unless the job is completed.
func (d *Dispatcher) confirmCached(ctx context.Context, entry *ResultEntry, recorded bool, err error) {
	if entry == nil || fault.Is(err, fault.Unavailable) || recorded && entry.Only {
		return
	}
	if recorded {
		err = d.Results.Keep(ctx, *entry)
	} else {
		err = d.Results.Undo(ctx, *entry)
	}
	if err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Str(logging.JobID, entry.Job).Msg("cached results not cleaned up")
	}
}

// Package quota limits how many bytes the jobs of one owner use, in three budgets: bytes in staging,
// bytes in the bucket, and bytes of events in the stream of logs.
//
// To admit an upload, the gateway adds two numbers: what the owner's recorded jobs use according to
// the tracker, at most two seconds ago (but see rule 4), and the size of the owner's uploads at
// this replica that the tracker has not recorded yet. The sum, including the new upload, must not
// exceed a budget:
//
//  1. Uploads at one replica do not exceed a budget, however many are concurrent.
//  2. An upload at another replica is counted as soon as the tracker has recorded its job and this
//     replica has read the usage again. Until then, uploads that other replicas admit can make an
//     owner exceed a budget.
//  3. Before an upload is refused, the usage is read again, so that bytes that were released are
//     available at once.
//  4. An upload of an owner who uses less than half of each budget does not wait until the usage is
//     read again: the last usage is used for a minute.
//  5. If the usage cannot be read within a second, uploads are admitted without it.
//
// The reservations of the uploads that are not recorded yet are only in memory, so that none is
// left after a crash.
package quota

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/logging"
)

const (
	// maxAge is how long uploads use the last usage that was read. If the last reading failed, it
	// is how long uploads are admitted without a usage.
	maxAge = 2 * time.Second

	// maxStale is the age up to which a usage of less than half of each budget is used while a
	// newer usage is read.
	maxStale = time.Minute

	// readTimeout limits one reading of the usage. An upload waits for at most two readings: one
	// that is under way when the upload arrives, and the next one.
	readTimeout = time.Second

	// maxNamed is the largest number of jobs in one request for the usage. A reading with more jobs
	// sends several requests.
	maxNamed = 256

	// keep is how long the gateway counts an accepted job that the tracker does not record. The
	// tracker may be unavailable, or the job does not exist because its event was not stored.
	keep = time.Minute

	// jobLogBytes is the assumed size of the events of a job until the tracker has recorded the
	// job: about the size of the events of a short analysis.
	jobLogBytes = 4 << 10

	// maxOwners limits the owners whose usage is remembered, and so the memory.
	maxOwners = 1 << 16
)

// Usage is what the recorded jobs of an owner use.
type Usage struct {
	Jobs   int64
	Staged int64 // bytes of recordings that are not in the bucket yet
	Stored int64 // bytes of recordings in the bucket
	Log    int64 // bytes of events
}

// Source reads the usage of owners.
type Source interface {
	// Usage returns the usage of an owner, and which of the given jobs the usage includes.
	Usage(ctx context.Context, owner string, jobs []string) (u Usage, recorded []string, err error)
}

// Quotas admits uploads. A nil Quotas admits all uploads. It is safe for concurrent use.
type Quotas struct {
	source  Source
	limits  Limits
	unknown func()

	mu     sync.Mutex
	owners map[string]*account
}

// account has the usage of one owner, as far as this replica knows it.
type account struct {
	owner   string
	usage   Usage
	read    time.Time      // when the reading of the usage began; zero if it was never read
	failed  time.Time      // when the last failed reading began
	reading chan struct{}  // closed when the reading that is under way ends; nil if there is none
	open    []*Reservation // uploads that are not in the usage, in the order of their arrival
}

// New makes quotas. unknown is called for each upload that is admitted although the usage of its
// owner could not be read.
func New(source Source, limits Limits, unknown func()) *Quotas {
	return &Quotas{source: source, limits: limits, unknown: unknown, owners: map[string]*account{}}
}

// Limits returns the budgets of each owner.
func (q *Quotas) Limits() Limits { return q.limits }

// Usage reads the current usage of an owner.
func (q *Quotas) Usage(ctx context.Context, owner string) (Usage, error) {
	u, _, err := q.source.Usage(ctx, owner, nil)
	return u, err
}

// Reservation is an upload that counts until the usage includes its job. The methods of a nil
// Reservation, of an upload without a budget, do nothing.
type Reservation struct {
	quotas   *Quotas
	account  *account
	job      string
	size     int64
	staged   bool      // the size is known, and the job may exist from now on
	accepted time.Time // when the upload was accepted; zero before that
}

// Reserve admits an upload of a size in bytes, at least 1, which becomes a job. It fails with
// fault.RateLimited if the upload would exceed a budget of the owner. An empty owner has no budgets.
func (q *Quotas) Reserve(ctx context.Context, owner, job string, size int64) (*Reservation, error) {
	if q == nil || owner == "" || q.limits == (Limits{}) {
		return nil, nil
	}
	r := &Reservation{quotas: q, job: job, size: size}
	err := q.admit(ctx, owner, func(a *account, known bool) error {
		if !known {
			q.unknown()
		} else if err := a.check(q.limits, size, 1); err != nil {
			return err
		}
		r.account = a
		a.open = append(a.open, r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Check checks whether an upload of a size in bytes, at least 1, may begin that does not go through
// staging. It fails with fault.RateLimited if the upload would exceed the budget of stored bytes, or if
// another budget is used up. It reserves nothing: such an upload may take hours.
func (q *Quotas) Check(ctx context.Context, owner string, size int64) error {
	if q == nil || owner == "" || q.limits == (Limits{}) {
		return nil
	}
	return q.admit(ctx, owner, func(a *account, known bool) error {
		if !known {
			q.unknown()
			return nil
		}
		if err := a.check(Limits{Stored: q.limits.Stored}, size, 0); err != nil {
			return err
		}
		return a.check(q.limits, 1, 1)
	})
}

// Staged sets the actual size of the upload, in bytes, when its bytes are staged. It fails like
// Reserve if the upload is larger than the size given to Reserve and exceeds a budget.
func (r *Reservation) Staged(ctx context.Context, size int64) error {
	if r == nil {
		return nil
	}
	return r.quotas.admit(ctx, r.account.owner, func(a *account, known bool) error {
		if more := size - r.size; known && more > 0 {
			if err := a.check(r.quotas.limits, more, 0); err != nil {
				return err
			}
		}
		r.size, r.staged = size, true
		return nil
	})
}

// Accepted records that the job of the upload exists. The upload counts until the usage includes
// the job, at most for a minute.
func (r *Reservation) Accepted() {
	if r == nil {
		return
	}
	r.quotas.mu.Lock()
	defer r.quotas.mu.Unlock()
	r.accepted = time.Now()
}

// Release ends the reservation of an upload that does not become a job.
func (r *Reservation) Release() {
	if r == nil {
		return
	}
	r.quotas.mu.Lock()
	defer r.quotas.mu.Unlock()
	r.account.open = slices.DeleteFunc(r.account.open, func(o *Reservation) bool { return o == r })
}

// admit calls try with the usage that was read last. If try fails, admit calls try again, with a
// usage that is read after the call of admit. known is false if the usage cannot be read.
func (q *Quotas) admit(ctx context.Context, owner string, try func(a *account, known bool) error) error {
	now := time.Now()
	var err error
	for _, mayBeStale := range []bool{true, false} {
		since := now
		if mayBeStale {
			since = now.Add(-maxAge)
		}
		known := q.refresh(ctx, owner, since, mayBeStale)
		q.mu.Lock()
		err = try(q.account(owner), known)
		q.mu.Unlock()
		if err == nil {
			return nil
		}
	}
	return err
}

// refresh reads the usage of an owner unless the last reading began at the time since or later. If
// another upload is reading the usage, refresh waits for that reading. If mayBeStale is true, an
// older usage suffices if it is less than half of each budget and at most maxStale old. refresh
// returns false if it has no such usage.
func (q *Quotas) refresh(ctx context.Context, owner string, since time.Time, mayBeStale bool) bool {
	for {
		q.mu.Lock()
		a := q.account(owner)
		reading, fresh := a.reading, !a.read.Before(since)
		failed := time.Since(a.failed) < maxAge
		ample := mayBeStale && time.Since(a.read) < maxStale && a.isAmple(q.limits)
		if reading == nil && !fresh && !failed {
			a.reading = make(chan struct{})
			named := a.named()
			q.mu.Unlock()
			if ample {
				log := zerolog.Ctx(ctx).With().Logger() // a copy, since the request may add fields to its logger during the reading
				go q.read(log.WithContext(ctx), a, named)
				return true
			}
			q.read(ctx, a, named)
			continue
		}
		q.mu.Unlock()
		if fresh || failed || ample {
			return fresh || ample
		}
		select {
		case <-reading:
		case <-ctx.Done():
			return false
		}
	}
}

// read reads the usage of an owner. It continues if the client of the upload disconnects, since
// other uploads may wait for the same reading.
func (q *Quotas) read(ctx context.Context, a *account, named []string) {
	began := time.Now()
	readCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
	usage, recorded, err := q.usageOf(readCtx, a.owner, named)
	cancel()
	q.mu.Lock()
	defer q.mu.Unlock()
	close(a.reading)
	a.reading = nil
	recordedOrOld := func(r *Reservation) bool {
		return recorded[r.job] || !r.accepted.IsZero() && began.Sub(r.accepted) > keep
	}
	if err != nil {
		// Old uploads are forgotten here too: after a long outage, the requests that name them all would
		// exceed the time limit of a reading, and no reading would ever succeed again.
		a.open = slices.DeleteFunc(a.open, recordedOrOld)
		a.failed = time.Now()
		zerolog.Ctx(ctx).Warn().Err(err).Str(logging.Owner, a.owner).Msg("usage not known: uploads are admitted without it")
		return
	}
	a.usage, a.read, a.failed = usage, began, time.Time{}
	a.open = slices.DeleteFunc(a.open, recordedOrOld)
}

// usageOf reads the usage of an owner, and which of the named jobs the usage includes. Many jobs
// need several requests. The usage is that of the last request, since it also includes every job
// that an earlier request has reported as recorded.
func (q *Quotas) usageOf(ctx context.Context, owner string, named []string) (u Usage, recorded map[string]bool, err error) {
	recorded = map[string]bool{}
	for {
		n := min(len(named), maxNamed)
		var jobs []string
		if u, jobs, err = q.source.Usage(ctx, owner, named[:n]); err != nil {
			return u, nil, err
		}
		for _, job := range jobs {
			recorded[job] = true
		}
		if named = named[n:]; len(named) == 0 {
			return u, recorded, nil
		}
	}
}

// account returns the account of an owner. q.mu must be locked.
func (q *Quotas) account(owner string) *account {
	if a, ok := q.owners[owner]; ok {
		return a
	}
	if len(q.owners) >= maxOwners {
		for name, a := range q.owners {
			if len(a.open) == 0 && a.reading == nil {
				delete(q.owners, name)
			}
		}
	}
	a := &account{owner: owner}
	q.owners[owner] = a
	return a
}

// named returns the jobs that the next request for the usage contains (Source.Usage): those of
// staged uploads, which the tracker may have recorded since the last reading.
func (a *account) named() []string {
	var jobs []string
	for _, r := range a.open {
		if r.staged {
			jobs = append(jobs, r.job)
		}
	}
	return jobs
}

// isAmple reports whether less than half of each budget is used.
func (a *account) isAmple(l Limits) bool {
	return a.check(Limits{Staged: l.Staged / 2, Stored: l.Stored / 2, Log: l.Log / 2}, 0, 0) == nil //nolint:mnd // half
}

// check fails if further bytes, and further jobs, would exceed a budget. Staged bytes count as stored
// bytes too, since they are about to be stored.
func (a *account) check(l Limits, bytes, jobs int64) error {
	var open int64
	for _, r := range a.open {
		open += r.size
	}
	log := a.usage.Log + int64(len(a.open))*jobLogBytes
	staged := a.usage.Staged + open
	switch {
	case exceeds(l.Stored, a.usage.Stored+staged, bytes):
		return storedExceeded(l.Stored, a.usage.Stored+staged)
	case exceeds(l.Staged, staged, bytes):
		return stagedExceeded(l.Staged, staged)
	case exceeds(l.Log, log, jobs*jobLogBytes):
		return logExceeded(l.Log, log)
	}
	return nil
}

func exceeds(limit, used, more int64) bool { return limit > 0 && more > limit-used }

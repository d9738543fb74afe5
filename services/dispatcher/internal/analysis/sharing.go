package analysis

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
	"sori.internal/shared/wait"
)

// Of jobs with the same key that are not analysed yet, one is the leader: it is analysed. The others
// follow it: they hold no handler, no slot and no place in the queue. When the leader is completed,
// its followers are completed with its result. When it ends in any other way, the oldest follower is
// promoted: it is the next leader.
//
// The rules, which hold wherever a process dies and however often events are delivered:
//
//  1. A job becomes the first leader of a key only while the key has none, and it is promoted only in
//     place of the leader that ended (Sharing.Lead compares and sets). So a key has one leader.
//  2. A leader entry is removed only after its followers are settled, or after the next leader has
//     its own. The durable consumers of the terminal events settle them; they find the entry by the
//     job.
//  3. A job that has begun to follow looks at its leader again. If the leader has ended, it settles
//     the followers itself. So no follower is left behind that registered too late.
//  4. A promoted job is sent by the consumer of granted. Everybody who finds it promoted publishes
//     granted again until its attempt has begun; the id of the event makes that harmless.
//  5. RunSharing looks at all entries from time to time, for what the rules above have missed.

// Member is a job that shares an analysis with others.
type Member struct {
	Key      ResultKey
	Job      string
	Promoted bool      // it followed before it became the leader
	Trace    string    // traceparent of the event that the analysis is for; set if it is empty
	Seq      uint64    // of two followers, the older one has the smaller Seq
	Since    time.Time // when it was stored
}

// Sharing stores the jobs that share an analysis, for all replicas. Methods that look for a job
// return nil if there is none.
type Sharing interface {
	// Leader returns the newest leader of a key.
	Leader(ctx context.Context, key string) (*Member, error)
	// LedBy returns a job as a leader.
	LedBy(ctx context.Context, job string) (*Member, error)
	// NextLeader returns the oldest leader of any key whose sequence is at least from.
	NextLeader(ctx context.Context, from uint64) (*Member, error)
	// NextFollower returns the oldest follower of a key, or of all keys if key is empty, whose
	// sequence is at least from.
	NextFollower(ctx context.Context, key string, from uint64) (*Member, error)
	// Lead makes a job the leader of its key, if the newest leader has the sequence after; 0 means
	// that there is none. It returns nil if there is another one.
	Lead(ctx context.Context, m Member, after uint64) (*Member, error)
	// Follow adds a follower, or does nothing if it is one already.
	Follow(ctx context.Context, m Member) error
	// Remove removes an entry, or does nothing if it is removed already.
	Remove(ctx context.Context, m *Member) error
	// RemoveFollowers removes the followers of a key whose sequence is less than before.
	RemoveFollowers(ctx context.Context, key string, before uint64) error
	// Continue returns a context with the trace of a job.
	Continue(ctx context.Context, m *Member) context.Context
	// Grant publishes that the attempt of a job that followed may be sent.
	Grant(ctx context.Context, m *Member) error
}

// handleShared handles stored if results are cached. It completes the job with a cached result, makes
// it follow another one, or sends the first attempt.
func (d *Dispatcher) handleShared(ctx context.Context, e event.Stored, first attempt) error {
	log, err := d.Jobs.Read(ctx, e.JobID)
	if err != nil || !active(log) {
		return err
	}
	if log.Attempt() > 0 { // the attempt was interrupted
		return d.makeAttempt(ctx, e, first, log)
	}
	received, _ := event.Last[event.Received](log)
	key := d.keyOf(ctx, e, log)
	first.key = key.Hash
	if key.Hash == "" || received.Fresh {
		return d.makeAttempt(ctx, e, first, log)
	}
	alone, err := d.share(ctx, key, e.JobID, log)
	if err == nil && !alone {
		return nil
	}
	if err != nil { // the job is analysed all the same, unless its own log is unavailable, too
		zerolog.Ctx(ctx).Warn().Err(err).Str(logging.Kind, fault.KindOf(err).String()).Msg("analysis not shared")
	}
	d.Counts.Miss()
	return d.makeAttempt(ctx, e, first, log)
}

// maxRounds limits how often share looks for a leader. Further rounds follow only if a leader ends
// at the same time.
const maxRounds = 16

// share reports whether a job must be analysed. Otherwise it is completed, or waits for a leader.
func (d *Dispatcher) share(ctx context.Context, key ResultKey, job string, log event.Log) (alone bool, err error) {
	self := Member{Key: key, Job: job}
	for range maxRounds {
		if done, err := d.completeFromCache(ctx, key, job, log); done || err != nil {
			return false, err
		}
		leader, err := d.Sharing.Leader(ctx, key.Hash)
		if err != nil {
			return false, err
		}
		if leader == nil {
			if leader, err = d.Sharing.Lead(ctx, self, 0); err != nil {
				return false, err
			}
			if leader != nil { // a previous leader may have been completed since the cache was read
				done, err := d.completeFromCache(ctx, key, job, log)
				return !done, err
			}
			continue
		}
		if leader.Job == job && !leader.Promoted {
			return true, nil
		}
		if leader.Job == job {
			return false, d.Sharing.Grant(ctx, leader)
		}
		if waits, err := d.follow(ctx, self, leader); waits || err != nil {
			return false, err
		}
	}
	return true, nil
}

// completeFromCache completes a job if its result is cached.
func (d *Dispatcher) completeFromCache(ctx context.Context, key ResultKey, job string, log event.Log) (bool, error) {
	cached, err := d.findCached(ctx, key)
	if err != nil || cached == nil {
		return false, err
	}
	done, err := d.complete(ctx, job, cached, log)
	if done {
		d.Counts.Hit()
		zerolog.Ctx(ctx).Info().Str(logging.Source, cached.Job).Msg("completed with cached result")
	}
	return err == nil, err // a job that is not completed has ended otherwise
}

// follow makes a job follow a leader, and reports whether it waits. If the leader has ended, the job
// has to look again.
func (d *Dispatcher) follow(ctx context.Context, self Member, leader *Member) (bool, error) {
	d.publishFollowing(ctx, self.Job)
	if err := d.Sharing.Follow(ctx, self); err != nil {
		return false, err
	}
	newest, err := d.Sharing.Leader(ctx, self.Key.Hash)
	if err != nil || newest == nil || newest.Seq != leader.Seq {
		return false, err
	}
	log, err := d.Jobs.Read(ctx, leader.Job)
	if err != nil {
		return false, err
	}
	if active(log) {
		zerolog.Ctx(ctx).Info().Str(logging.Source, leader.Job).Msg("waits for the analysis of the same recording")
		return true, nil
	}
	return false, d.settle(ctx, leader)
}

func (d *Dispatcher) publishFollowing(ctx context.Context, job string) {
	d.publishWaiting(ctx, event.Waiting{JobID: job, Attempt: 1, Since: time.Now().UTC(), Code: event.CodeSameRecording})
}

// HandleCompleted completes the followers of a completed job.
func (d *Dispatcher) HandleCompleted(ctx context.Context, e event.Completed, _ uint64) error {
	return d.settleLedBy(ctx, e.JobID)
}

// HandleFailed promotes a follower of a failed job.
func (d *Dispatcher) HandleFailed(ctx context.Context, e event.Failed, _ uint64) error {
	return d.settleLedBy(ctx, e.JobID)
}

// settleLedBy settles the followers of a job that has ended, if it was a leader.
func (d *Dispatcher) settleLedBy(ctx context.Context, job string) error {
	leader, err := d.Sharing.LedBy(ctx, job)
	if err != nil || leader == nil {
		return err
	}
	return d.settle(ctx, leader)
}

// settle completes the followers of a leader that has ended with its result, or promotes one of them.
// Then it removes the leader. A job that was retried is active again, and leads until it ends.
func (d *Dispatcher) settle(ctx context.Context, leader *Member) error {
	log, err := d.Jobs.Read(ctx, leader.Job)
	if err != nil || active(log) {
		return err
	}
	newest, err := d.Sharing.Leader(ctx, leader.Key.Hash)
	if err != nil || newest == nil { // another replica has settled them
		return err
	}
	switch {
	case newest.Seq != leader.Seq: // it was promoted
		err = d.Sharing.Grant(ctx, newest)
	case d.Results == nil:
		err = d.releaseFollowers(ctx, leader.Key.Hash)
	default:
		err = d.settleFollowers(ctx, leader, log)
	}
	if err != nil {
		return err
	}
	return d.Sharing.Remove(ctx, leader)
}

// settleFollowers completes the followers of an ended leader if its result is known, and promotes the
// oldest of them otherwise.
func (d *Dispatcher) settleFollowers(ctx context.Context, leader *Member, log event.Log) error {
	completed, ok := completedBy(log)
	if !ok {
		return d.promote(ctx, leader.Key.Hash, leader.Seq)
	}
	cached, err := d.findCached(ctx, leader.Key)
	if err != nil {
		return err
	}
	if cached == nil && len(completed.Result) > 0 { // it could not be cached
		cached = &CachedResult{Job: leader.Job, Result: completed.Result, Warnings: completed.Warnings}
		if completed.Cached {
			cached.Job = completed.CachedFrom
		}
	}
	if cached == nil {
		return d.promote(ctx, leader.Key.Hash, leader.Seq)
	}
	return d.completeFollowers(ctx, leader.Key.Hash, cached)
}

// completeConcurrency is the number of followers that are completed at once.
const completeConcurrency = 16

// completeFollowers completes the followers of a key, and removes them.
func (d *Dispatcher) completeFollowers(ctx context.Context, key string, cached *CachedResult) error {
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		failed error
		count  int
		slots  = make(chan struct{}, completeConcurrency)
	)
	end, err := d.eachFollower(ctx, key, func(f *Member) error {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			done, err := d.complete(d.Sharing.Continue(ctx, f), f.Job, cached, nil)
			mu.Lock()
			defer mu.Unlock()
			failed = errors.Join(failed, err)
			if done {
				count++
				d.Counts.Shared()
			}
		})
		return nil
	})
	wg.Wait()
	if err = errors.Join(err, failed); err != nil || end == 0 {
		return err
	}
	zerolog.Ctx(ctx).Info().Str(logging.Source, cached.Job).Int(logging.Count, count).Msg("analysis shared")
	return d.Sharing.RemoveFollowers(ctx, key, end)
}

// eachFollower calls do with the followers of a key, or of all keys if key is empty, oldest first. It
// returns the sequence after the last one; 0 if there is none.
func (d *Dispatcher) eachFollower(ctx context.Context, key string, do func(*Member) error) (end uint64, err error) {
	for {
		f, err := d.Sharing.NextFollower(ctx, key, end)
		if err != nil || f == nil {
			return end, err
		}
		end = f.Seq + 1
		if err := do(f); err != nil {
			return end, err
		}
	}
}

// promote makes the oldest follower that still waits the leader of its key, in place of the leader
// with the sequence after, and has it sent. It removes the older followers, which no longer wait.
func (d *Dispatcher) promote(ctx context.Context, key string, after uint64) error {
	for from := uint64(0); ; {
		f, err := d.Sharing.NextFollower(ctx, key, from)
		if err != nil || f == nil {
			return err
		}
		waits, err := d.waits(ctx, f)
		if err != nil {
			return err
		}
		if waits {
			return d.promoteFollower(ctx, f, after)
		}
		from = f.Seq + 1
	}
}

// waits reports whether a follower still waits. If it does not, it is removed.
func (d *Dispatcher) waits(ctx context.Context, f *Member) (bool, error) {
	log, err := d.Jobs.Read(ctx, f.Job)
	if err != nil || waitsForLeader(log) {
		return err == nil, err
	}
	return false, d.Sharing.Remove(ctx, f)
}

// promoteFollower makes a follower the leader of its key, in place of the leader with the sequence
// after, and has it sent. If another replica has promoted one, it has that one sent.
func (d *Dispatcher) promoteFollower(ctx context.Context, f *Member, after uint64) error {
	next, err := d.Sharing.Lead(ctx, Member{Key: f.Key, Job: f.Job, Promoted: true, Trace: f.Trace}, after)
	if err == nil && next == nil {
		next, err = d.Sharing.Leader(ctx, f.Key.Hash)
	}
	if err != nil || next == nil || !next.Promoted {
		return err
	}
	if err := d.Sharing.Grant(ctx, next); err != nil || next.Job != f.Job {
		return err
	}
	zerolog.Ctx(ctx).Info().Str(logging.Source, f.Job).Msg("next job with the same recording will be analysed")
	return d.Sharing.Remove(ctx, f)
}

// releaseFollowers has all followers of a key analysed, since results are no longer cached.
func (d *Dispatcher) releaseFollowers(ctx context.Context, key string) error {
	_, err := d.eachFollower(ctx, key, func(f *Member) error {
		if err := d.Sharing.Grant(ctx, f); err != nil {
			return err
		}
		return d.Sharing.Remove(ctx, f)
	})
	return err
}

// sharingInterval is the time between two looks at all jobs that share an analysis. The tracker takes
// a job for a waiting one for half an hour after each time that its waiting is published.
const sharingInterval = 5 * time.Minute

// RunSharing looks at the jobs that share an analysis from time to time until ctx ends. It settles
// the followers whose leader has ended, and publishes that the others wait.
func (d *Dispatcher) RunSharing(ctx context.Context) error {
	return wait.Repeat(ctx, func(ctx context.Context) time.Duration {
		if err := d.ReviewSharing(ctx); err != nil && ctx.Err() == nil {
			zerolog.Ctx(ctx).Warn().Err(err).Str(logging.Kind, fault.KindOf(err).String()).Msg("shared analyses not reviewed")
		}
		return wait.Jitter(sharingInterval)
	})
}

// ReviewSharing looks once at the jobs that share an analysis.
func (d *Dispatcher) ReviewSharing(ctx context.Context) error {
	for from := uint64(0); ; {
		leader, err := d.Sharing.NextLeader(ctx, from)
		if err != nil {
			return err
		}
		if leader == nil {
			break
		}
		from = leader.Seq + 1
		if err := d.reviewLeader(ctx, leader); err != nil {
			return err
		}
	}
	_, err := d.eachFollower(ctx, "", func(f *Member) error { return d.reviewFollower(ctx, f) })
	return err
}

func (d *Dispatcher) reviewLeader(ctx context.Context, leader *Member) error {
	log, err := d.Jobs.Read(ctx, leader.Job)
	if err != nil {
		return err
	}
	if active(log) && leader.Promoted && waitsForLeader(log) {
		return d.Sharing.Grant(ctx, leader)
	}
	return d.settle(ctx, leader)
}

// reviewFollower publishes that a follower waits, and removes one that does not. A follower without a
// leader is promoted.
func (d *Dispatcher) reviewFollower(ctx context.Context, f *Member) error {
	if d.Results == nil {
		return d.releaseFollowers(ctx, f.Key.Hash)
	}
	waits, err := d.waits(ctx, f)
	if err != nil || !waits {
		return err
	}
	leader, err := d.Sharing.Leader(ctx, f.Key.Hash)
	if err != nil {
		return err
	}
	if leader == nil {
		return d.promote(ctx, f.Key.Hash, 0)
	}
	d.publishFollowing(ctx, f.Job)
	return nil
}

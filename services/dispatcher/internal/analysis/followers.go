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

// HandleCompleted completes the followers of a completed job. Most jobs have no followers, so
// HandleCompleted only removes their leader entry. A job that begins to follow the leader at the
// same time finds that the leader has ended (rule 3 in sharing.go).
func (d *Dispatcher) HandleCompleted(ctx context.Context, e event.Completed, _ uint64) error {
	leader, err := d.Sharing.LedBy(ctx, e.JobID)
	if err != nil || leader == nil {
		return err
	}
	follower, err := d.Sharing.NextFollower(ctx, leader.Key.Hash, 0)
	if err != nil {
		return err
	}
	if follower == nil {
		return d.Sharing.Remove(ctx, leader)
	}
	return d.endWait(ctx, leader)
}

// HandleFailed promotes a follower of a failed job.
func (d *Dispatcher) HandleFailed(ctx context.Context, e event.Failed, _ uint64) error {
	return d.endWaitFor(ctx, e.JobID)
}

// endWaitFor ends the wait of the followers of a job that has ended. It does nothing if the job is
// no leader.
func (d *Dispatcher) endWaitFor(ctx context.Context, job string) error {
	leader, err := d.Sharing.LedBy(ctx, job)
	if err != nil || leader == nil {
		return err
	}
	return d.endWait(ctx, leader)
}

// endWait ends the wait of the followers of a leader that has ended: it completes them with the
// leader's result, or promotes one of them. Then it removes the entry of the leader. If the leader
// was retried, it is active again and stays the leader until it ends.
func (d *Dispatcher) endWait(ctx context.Context, leader *Member) error {
	log, err := d.Jobs.Read(ctx, leader.Job)
	if err != nil || active(log) {
		return err
	}
	newest, err := d.Sharing.Leader(ctx, leader.Key.Hash)
	if err != nil || newest == nil { // another replica has ended the wait of the followers
		return err
	}
	switch {
	case newest.Seq != leader.Seq && newest.Promoted:
		err = d.Sharing.Grant(ctx, newest)
	case newest.Seq != leader.Seq: // the key has a new leader, whose event stored is being handled
	case d.Results == nil:
		err = d.releaseFollowers(ctx, leader.Key.Hash)
	default:
		err = d.completeOrPromote(ctx, leader, log)
	}
	if err != nil {
		return err
	}
	return d.Sharing.Remove(ctx, leader)
}

// completeOrPromote ends the wait of the jobs that follow a leader that has ended. If the leader
// has a result, its followers are completed with it; otherwise the oldest follower is promoted. A
// result that the leader itself got from the cache is used only if it is still in the cache: the
// job that produced it may have been erased.
func (d *Dispatcher) completeOrPromote(ctx context.Context, leader *Member, log event.Log) error {
	completed, ok := completedBy(log)
	if !ok {
		return d.promote(ctx, leader.Key.Hash, leader.Seq)
	}
	cached, err := d.findCached(ctx, leader.Key)
	if err != nil {
		return err
	}
	if cached == nil && len(completed.Result) > 0 && !completed.Cached { // the leader's own result could not be cached
		cached = &CachedResult{Job: leader.Job, Result: completed.Result, Warnings: completed.Warnings}
	}
	if cached == nil {
		return d.promote(ctx, leader.Key.Hash, leader.Seq)
	}
	return d.completeFollowers(ctx, leader.Key.Hash, cached)
}

// completeConcurrency is the largest number of followers that are completed concurrently.
const completeConcurrency = 16

// completeFollowers completes the followers of a key with a cached result, and removes their
// entries.
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

// eachFollower calls do with each follower of a key, or of all keys if key is empty, from the
// oldest to the newest. It returns the sequence that follows that of the last follower; 0 if there
// are no followers.
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

// promote promotes the oldest follower of a key that still waits, and publishes that its attempt
// may be sent. The parameter after is the sequence of the leader that has ended. promote removes
// the entries of older followers, which no longer wait.
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

// waits reports whether a follower still waits for its leader. It removes the entry of a follower
// that does not.
func (d *Dispatcher) waits(ctx context.Context, f *Member) (bool, error) {
	log, err := d.Jobs.Read(ctx, f.Job)
	if err != nil || waitsForLeader(log) {
		return err == nil, err
	}
	return false, d.Sharing.Remove(ctx, f)
}

// promoteFollower makes a follower the leader of its key, and publishes that its attempt may be
// sent. The parameter after is the sequence of the leader that has ended. If another replica has
// already promoted a follower, promoteFollower publishes the event `granted` of that follower
// instead.
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

// releaseFollowers publishes for all followers of a key that their attempts may be sent. It is used
// if the operator has disabled the result cache.
func (d *Dispatcher) releaseFollowers(ctx context.Context, key string) error {
	_, err := d.eachFollower(ctx, key, func(f *Member) error {
		if err := d.Sharing.Grant(ctx, f); err != nil {
			return err
		}
		return d.Sharing.Remove(ctx, f)
	})
	return err
}

// sharingInterval is the time between two reviews of all jobs that share an analysis. It must be
// much shorter than half an hour: the tracker fails a follower for which no waiting event was
// published for that time.
const sharingInterval = 5 * time.Minute

// RunSharing calls ReviewSharing about every five minutes until ctx ends.
func (d *Dispatcher) RunSharing(ctx context.Context) error {
	return wait.Repeat(ctx, func(ctx context.Context) time.Duration {
		if err := d.ReviewSharing(ctx); err != nil && ctx.Err() == nil {
			zerolog.Ctx(ctx).Warn().Err(err).Str(logging.Kind, fault.KindOf(err).String()).Msg("shared analyses not reviewed")
		}
		return wait.Jitter(sharingInterval)
	})
}

// ReviewSharing checks all jobs that share an analysis. It completes or promotes the followers
// whose leader has ended, and publishes a waiting event for each of the other followers.
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
	return d.endWait(ctx, leader)
}

// reviewFollower publishes a waiting event for a follower that has a leader. It removes a follower
// that no longer waits, and promotes a follower that has no leader.
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

package analysis

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
)

// Several jobs may have the same result key while none of them is analysed yet. One of these jobs
// is the leader, and is analysed. The others are its followers: they occupy no handler, no slot and
// no place in the queue. When the leader is completed, its followers are completed with its result.
// When the leader ends in any other way, its oldest follower is promoted to the next leader.
//
// The following rules hold wherever a process dies and however often an event is delivered:
//
//  1. A job becomes the first leader of a key only if the key has no leader. A follower is promoted
//     only in place of the leader that ended. Sharing.Lead is a compare-and-set, so a key has one
//     leader.
//  2. The entry of a leader is removed only when no follower waits for it any more, or when the
//     next leader has an entry. The durable consumers of the terminal events end the wait of the
//     followers; they find the entry of the leader by the job that ended.
//  3. A job that has registered as a follower reads its leader again. If the leader has ended, the
//     job ends the wait of all followers, including itself. Therefore no follower registers too
//     late.
//  4. The consumer of the event `granted` sends the attempt of a promoted job. Every replica that
//     finds a promoted job publishes this event again until the attempt has begun; the event's id
//     makes this idempotent.
//  5. RunSharing checks all entries from time to time, for cases that rules 1 to 4 do not cover.

// Member is a job that shares an analysis with others.
type Member struct {
	Key      ResultKey
	Job      string
	Promoted bool      // the job was a follower before it became the leader
	Trace    string    // traceparent of the event that caused the analysis; Lead and Follow set it if it is empty
	Seq      uint64    // stream sequence: an older follower has a smaller one
	Since    time.Time // when the entry was stored
}

// Sharing stores the jobs that share an analysis, for all replicas. Its methods that return a
// *Member return nil if there is none.
type Sharing interface {
	// Leader returns the newest leader of a key.
	Leader(ctx context.Context, key string) (*Member, error)
	// LedBy returns the leader entry of a job, if the job is a leader.
	LedBy(ctx context.Context, job string) (*Member, error)
	// NextLeader returns the oldest leader of any key whose sequence is at least the parameter
	// from.
	NextLeader(ctx context.Context, from uint64) (*Member, error)
	// NextFollower returns the oldest follower of a key, or of all keys if key is empty, whose
	// sequence is at least the parameter from.
	NextFollower(ctx context.Context, key string, from uint64) (*Member, error)
	// Lead makes a job the leader of its key, in place of the leader whose sequence is the
	// parameter after. If after is 0, the key must have no leader. Lead returns nil if the key has
	// another leader.
	Lead(ctx context.Context, m Member, after uint64) (*Member, error)
	// Follow adds a follower. It does nothing if the job is a follower already.
	Follow(ctx context.Context, m Member) error
	// Remove removes an entry, or does nothing if it is removed already.
	Remove(ctx context.Context, m *Member) error
	// RemoveFollowers removes the followers of a key whose sequence is less than the parameter
	// before.
	RemoveFollowers(ctx context.Context, key string, before uint64) error
	// Continue returns a context with the trace of a job.
	Continue(ctx context.Context, m *Member) context.Context
	// Grant publishes that the attempt of a former follower may be sent.
	Grant(ctx context.Context, m *Member) error
}

// handleShared handles the event `stored` if results are cached. It completes the job with a cached
// result, makes the job follow a leader with the same key, or sends the first attempt.
func (d *Dispatcher) handleShared(ctx context.Context, e event.Stored, delivery Delivery, first attempt) error {
	log, err := d.logOf(ctx, e, delivery)
	if err != nil || !active(log) {
		return err
	}
	if log.Attempt() > 0 { // the log has the event attempted: a crash or an error interrupted the attempt
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
	if err != nil { // analyse the job without sharing
		zerolog.Ctx(ctx).Warn().Err(err).Str(logging.Kind, fault.KindOf(err).String()).Msg("analysis not shared")
	}
	d.Counts.Miss()
	return d.makeAttempt(ctx, e, first, log)
}

// logOf returns the log of a job whose recording is stored. At the first delivery of the event
// `stored` it assumes that this is the newest event, and reads only the event `received`: if the
// log has further events, the next append is a conflict, after which the log is read. logOf reads
// the whole log at a redelivery, or if the event `received` is missing or cannot be decoded.
func (d *Dispatcher) logOf(ctx context.Context, e event.Stored, delivery Delivery) (event.Log, error) {
	if delivery.First {
		received, at, err := d.Jobs.Received(ctx, e.JobID)
		if err != nil {
			return nil, err
		}
		if received != nil {
			return event.Log{{Event: *received, Time: at}, {Event: e, Seq: delivery.Seq}}, nil
		}
	}
	return d.Jobs.Read(ctx, e.JobID)
}

// maxRounds is how often share tries to find or become a leader. A further round is necessary only
// if the leader ends during the round before.
const maxRounds = 16

// share reports whether a job must be analysed now. If not, the job is completed, follows a leader,
// or was granted.
func (d *Dispatcher) share(ctx context.Context, key ResultKey, job string, log event.Log) (alone bool, err error) {
	self := Member{Key: key, Job: job}
	for range maxRounds {
		if done, err := d.completeFromCache(ctx, key, job, log); done || err != nil {
			return false, err
		}
		leader, err := d.Sharing.Lead(ctx, self, 0)
		if err != nil {
			return false, err
		}
		if leader != nil { // the previous leader may have been completed since the cache was read
			done, err := d.completeFromCache(ctx, key, job, log)
			return !done, err
		}
		if leader, err = d.Sharing.Leader(ctx, key.Hash); err != nil {
			return false, err
		}
		if leader == nil {
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

// completeFromCache completes a job if its result is cached. It returns true if the job has ended.
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
	return err == nil, err // if the job is not completed, it has ended in another way
}

// follow lets a job wait for the result of its leader, the job whose analysis it shares. It returns
// false if the leader has ended or was replaced: then the job must search for a leader again.
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
	return false, d.endWait(ctx, leader)
}

func (d *Dispatcher) publishFollowing(ctx context.Context, job string) {
	d.publishWaiting(ctx, event.Waiting{JobID: job, Attempt: 1, Since: time.Now().UTC(), Code: event.CodeSameRecording})
}

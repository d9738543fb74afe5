package analysis

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
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
//  3. A job that has begun to follow reads its leader again. If the leader has ended, the job settles
//     the followers itself. So no follower that registered too late is left behind.
//  4. A promoted job is sent by the consumer of granted. Every replica that finds the job promoted
//     publishes granted again until the attempt has begun; the id of the event makes the repetition
//     harmless.
//  5. RunSharing checks all entries from time to time, for cases that the rules above have missed.

// Member is a job that shares an analysis with others.
type Member struct {
	Key      ResultKey
	Job      string
	Promoted bool      // the job was a follower before it became the leader
	Trace    string    // traceparent of the event that caused the analysis; Lead and Follow set it if it is empty
	Seq      uint64    // sequence in the stream: an older follower has a smaller Seq
	Since    time.Time // when the entry was stored
}

// Sharing stores the jobs that share an analysis, for all replicas. Methods that search for a job
// return nil if there is none.
type Sharing interface {
	// Leader returns the newest leader of a key.
	Leader(ctx context.Context, key string) (*Member, error)
	// LedBy returns the leader entry of a job.
	LedBy(ctx context.Context, job string) (*Member, error)
	// NextLeader returns the oldest leader of any key whose sequence is at least the parameter
	// from.
	NextLeader(ctx context.Context, from uint64) (*Member, error)
	// NextFollower returns the oldest follower of a key, or of all keys if key is empty, whose
	// sequence is at least the parameter from.
	NextFollower(ctx context.Context, key string, from uint64) (*Member, error)
	// Lead makes a job the leader of its key if the sequence of the newest leader is equal to the
	// parameter after, or, if after is 0, if the key has no leader. Otherwise it returns nil.
	Lead(ctx context.Context, m Member, after uint64) (*Member, error)
	// Follow adds a follower, or does nothing if it is one already.
	Follow(ctx context.Context, m Member) error
	// Remove removes an entry, or does nothing if it is removed already.
	Remove(ctx context.Context, m *Member) error
	// RemoveFollowers removes the followers of a key whose sequence is less than the parameter
	// before.
	RemoveFollowers(ctx context.Context, key string, before uint64) error
	// Continue returns a context with the trace of a job.
	Continue(ctx context.Context, m *Member) context.Context
	// Grant publishes that the attempt of a job that followed may be sent.
	Grant(ctx context.Context, m *Member) error
}

// handleShared handles stored if results are cached. It completes the job with a cached result, makes
// it follow another one, or sends the first attempt.
func (d *Dispatcher) handleShared(ctx context.Context, e event.Stored, delivery Delivery, first attempt) error {
	log, err := d.logOf(ctx, e, delivery)
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

// logOf returns the log of a job whose recording is stored. If stored is delivered for the first time,
// it is taken for the end of the log: if more has been appended, the next append is a conflict, and the
// log is read then. The log is also read if received is missing or cannot be decoded.
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

// maxRounds limits how often share searches for a leader. Further rounds follow only if a leader
// ends at the same time.
const maxRounds = 16

// share reports whether a job must be analysed. Otherwise it is completed, or waits for a leader.
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
		if leader != nil { // a previous leader may have been completed since the cache was read
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
// must search for a leader again.
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

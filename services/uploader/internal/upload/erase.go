package upload

import (
	"context"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
)

// Recordings is the bucket as far as an erasure goes.
type Recordings interface {
	// RemoveBelow deletes every object whose key begins with a prefix.
	RemoveBelow(ctx context.Context, prefix string) error
}

// Past is what was said of jobs.
type Past interface {
	// Settled reports whether a consumer has nothing in hand of what came up to a
	// sequence.
	Settled(ctx context.Context, consumer string, seq uint64) (bool, error)
	// Forget removes what was said of a job before it was erased, at a sequence.
	Forget(ctx context.Context, job string, erased uint64) error
}

// Eraser removes what there is of erased jobs.
type Eraser struct {
	recordings Recordings
	staging    Staging
	past       Past
	copying    string
}

// NewEraser makes an eraser. copying is the consumer by which recordings are copied.
func NewEraser(recordings Recordings, staging Staging, past Past, copying string) *Eraser {
	return &Eraser{recordings: recordings, staging: staging, past: past, copying: copying}
}

// Erase removes recording and staging entries of a job that was erased at a
// sequence, and in the end what was said of it. It may run again, and at the same
// time in another copy.
//
// A copy may be under way. It finds the erasure behind it and removes what it put;
// where it dies before that, the next one does that is given the same event. So
// the event must stay as long as it may be in hand. Whatever is taken in hand later
// finds the erasure before it copies.
func (e *Eraser) Erase(ctx context.Context, erased event.Erased, seq uint64) error {
	settled, err := e.past.Settled(ctx, e.copying, seq) // before removing, not behind
	if err != nil {
		return err
	}
	if err := e.recordings.RemoveBelow(ctx, prefix(erased.JobID)); err != nil {
		return err
	}
	for _, entry := range erased.Staged {
		if err := e.staging.Unstage(ctx, entry); err != nil {
			return err
		}
	}
	if !settled {
		return &fault.Error{
			Kind: fault.Unavailable, Code: "copies-in-hand", Told: true, // nothing is wrong
			Detail: "Uploads from before the erasure are in hand.",
		}
	}
	zerolog.Ctx(ctx).Info().Msg("recording erased")
	return e.past.Forget(ctx, erased.JobID, seq)
}

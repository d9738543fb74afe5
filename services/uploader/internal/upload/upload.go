// Package upload is the uploader's core: how a staged recording becomes an object
// in the bucket, exactly once however often it is told to.
//
// Before any effect the job's log is read. Where it already says stored, or has
// ended, there is only cleaning up to do; a stored that an ending refuses takes
// its object away again. So a consumer that replays everything changes nothing.
//
// Of an erased job nothing is left, whatever is under way at the time (Eraser).
package upload

import (
	"context"
	"errors"
	"io"
	"path"
	"strings"
	"time"
	"unicode"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/logging"
	"sori.internal/shared/media"
)

// Journal is the log of the jobs.
type Journal interface {
	Log(ctx context.Context, job string) (event.Log, error)
	Decide(ctx context.Context, job string, known event.Log, decide func(event.Log) (event.Event, error)) (event.Log, error)
	Hint(ctx context.Context, e event.Event) error
}

// Staging is where the gateway left the bytes.
type Staging interface {
	OpenStaged(ctx context.Context, s event.Staged) (io.Reader, error)
	Unstage(ctx context.Context, entry string) error
}

// Object is a recording in the bucket.
type Object struct {
	Key       string
	MediaType string
	Size      int64  // bytes
	SHA256    string // hexadecimal
}

// Objects is the bucket.
type Objects interface {
	Name() string
	Put(ctx context.Context, o Object, body io.Reader) error
	Find(ctx context.Context, key string) (Object, bool, error)
	Remove(ctx context.Context, key string) error
}

// Core copies recordings.
type Core struct {
	journal Journal
	staging Staging
	objects Objects
}

// New makes a core.
func New(journal Journal, staging Staging, objects Objects) *Core {
	return &Core{journal: journal, staging: staging, objects: objects}
}

// Store brings an accepted upload into the bucket and says stored. It may run
// again, and at the same time in another copy.
func (c *Core) Store(ctx context.Context, r event.Received) error {
	log, err := c.journal.Log(ctx, r.JobID)
	if err != nil {
		return err
	}
	object := Object{Key: Key(r.JobID, r.FileName), MediaType: r.MediaType, Size: r.Size, SHA256: r.SHA256}
	if settled(log) {
		return c.cleanUp(ctx, log, object.Key)
	}
	duration, err := c.copy(ctx, r, object)
	if errors.Is(err, event.ErrStagingGone) {
		return c.recover(ctx, r, object)
	}
	if err != nil {
		return err
	}
	return c.conclude(ctx, r, object, duration, log)
}

// settled reports whether nothing is left to copy.
func settled(log event.Log) bool {
	_, stored := event.Last[event.Stored](log)
	_, ended := log.Ending()
	return stored || ended
}

func (c *Core) copy(ctx context.Context, r event.Received, o Object) (time.Duration, error) {
	staged, err := c.staging.OpenStaged(ctx, r.Staged())
	if err != nil {
		return 0, err
	}
	meter := media.NewMeter(r.Size)
	body := &teller{ctx: ctx, journal: c.journal, job: r.JobID, size: r.Size, body: io.TeeReader(staged, meter)}
	body.tell()
	if err := c.objects.Put(ctx, o, body); err != nil {
		if failure := body.failure(); errors.Is(failure, event.ErrStagingGone) {
			return 0, failure // whatever the driver made of it
		}
		return 0, err
	}
	return meter.Info().Duration, nil // zero where it is not known
}

// conclude says stored, unless another event was quicker than the log that was
// known, and cleans up.
func (c *Core) conclude(ctx context.Context, r event.Received, o Object, duration time.Duration, known event.Log) error {
	log, err := c.journal.Decide(ctx, r.JobID, known, func(log event.Log) (event.Event, error) {
		if settled(log) {
			return nil, nil
		}
		return event.Stored{
			JobID: r.JobID, TokenID: r.TokenID, TextGridURL: r.TextGridURL, PitchURL: r.PitchURL,
			Bucket: c.objects.Name(), Key: o.Key, MediaType: o.MediaType, Size: o.Size, SHA256: o.SHA256,
			Duration: duration.Seconds(),
		}, nil
	})
	if err != nil {
		return err
	}
	if _, stored := event.Last[event.Stored](log); stored {
		zerolog.Ctx(ctx).Info().Int64(logging.Bytes, o.Size).Msg("recording stored")
	}
	return c.cleanUp(ctx, log, o.Key)
}

// recover handles an upload whose bytes are no longer staged: either an earlier
// delivery got as far as the bucket, or they are lost.
func (c *Core) recover(ctx context.Context, r event.Received, o Object) error {
	found, ok, err := c.objects.Find(ctx, o.Key)
	if err != nil {
		return err
	}
	if ok && found.Size == o.Size && found.SHA256 == o.SHA256 {
		return c.conclude(ctx, r, o, 0, nil)
	}
	return c.Fail(ctx, r.JobID, event.CodeStagingLost, "The uploaded audio was lost before it could be stored.")
}

// Fail ends a job that is neither stored nor ended, and cleans up.
func (c *Core) Fail(ctx context.Context, job, code, detail string) error {
	log, err := c.journal.Decide(ctx, job, nil, func(log event.Log) (event.Event, error) {
		if settled(log) || len(log) == 0 {
			return nil, nil
		}
		return event.Failed{JobID: job, Code: code, Detail: detail}, nil
	})
	if err != nil {
		return err
	}
	r, _ := event.Last[event.Received](log)
	return c.cleanUp(ctx, log, Key(job, r.FileName))
}

// cleanUp removes what a settled job no longer needs: its staging entry, and the
// object where the job ended before it was stored, or was erased.
func (c *Core) cleanUp(ctx context.Context, log event.Log, key string) error {
	if len(log) == 0 {
		return nil
	}
	if _, stored := event.Last[event.Stored](log); !stored || log.Erased() {
		if err := c.objects.Remove(ctx, key); err != nil {
			return err
		}
	}
	entry := log[0].Event.Job()
	if r, ok := event.Last[event.Received](log); ok {
		entry = r.Staged().Entry
	}
	return c.staging.Unstage(ctx, entry)
}

// maxSuffix bounds what of a file name goes into a key, in bytes: a key has at
// most 1024.
const maxSuffix = 100

// Key is where a recording lies: audio/{job}_{name}. The name is reduced to
// letters, digits, dot, dash and underscore, so that it can neither climb nor
// need escaping anywhere.
func Key(job, fileName string) string {
	name := strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return '_'
	}, path.Base(strings.ReplaceAll(fileName, `\`, "/")))
	name = strings.TrimLeft(name, ".")
	for len(name) > maxSuffix { // keep the ending, which tells the format
		_, name, _ = cutRune(name)
	}
	if name == "" || name == "_" {
		name = "audio"
	}
	return prefix(job) + name
}

// prefix is what the key of a job's recording begins with, whatever its name.
func prefix(job string) string { return "audio/" + job + "_" }

func cutRune(s string) (first, rest string, ok bool) {
	for i := range s {
		if i > 0 {
			return s[:i], s[i:], true
		}
	}
	return s, "", false
}

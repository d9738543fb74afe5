package invariants

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sori.internal/shared/event"
	"sori.internal/shared/objectstore"
	"sori.internal/shared/staging"
	"sori.internal/shared/wait"
)

// lookAgain is the interval between two checks in retry.
const lookAgain = 50 * time.Millisecond

// retry calls check until check succeeds, until ctx ends, or until check returns an error for which passes is false.
func retry(ctx context.Context, check func() error, passes func(error) bool) error {
	for {
		err := check()
		if err == nil || !passes(err) {
			return err
		}
		if ended := wait.For(ctx, lookAgain); ended != nil {
			return errors.Join(err, ended)
		}
	}
}

// Await calls check repeatedly until it succeeds. After the given limit Await returns the last error of check.
func Await(ctx context.Context, limit time.Duration, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return retry(ctx, check, func(error) bool { return true })
}

// NoDeadLetters returns an error if there are dead letters.
func (c Checker) NoDeadLetters(ctx context.Context) error {
	return c.empty(ctx, event.Dead())
}

// Idle returns an error if a durable consumer of the job log has events to handle.
func (c Checker) Idle(ctx context.Context) error {
	stream, err := c.JetStream.Stream(ctx, c.Namespace.Stream(event.Jobs().Name))
	if err != nil {
		return fmt.Errorf("look at the consumers: %w", err)
	}
	var busy []error
	list := stream.ListConsumers(ctx)
	for info := range list.Info() {
		if left := info.NumPending + uint64(info.NumAckPending); left > 0 && info.Config.Durable != "" {
			busy = append(busy, fmt.Errorf("%s has %d events", info.Name, left))
		}
	}
	return errors.Join(append(busy, list.Err())...)
}

// sweptIn is how long to wait until the sweep of an idle uploader has removed the old entries of staging.
const sweptIn = time.Minute

// Restarter is a process that can be restarted with other settings.
type Restarter interface {
	Setenv(name, value string)
	Restart(ctx context.Context) error
}

// AwaitStagingEmpty restarts an uploader with settings with which it sweeps at once, and waits, at most
// for a minute, until staging is empty. No upload may be under way.
func (c Checker) AwaitStagingEmpty(ctx context.Context, uploader Restarter) error {
	uploader.Setenv("SWEEP_AGE", "1ms")
	uploader.Setenv("SWEEP_INTERVAL", "50ms")
	if err := uploader.Restart(ctx); err != nil {
		return err
	}
	return Await(ctx, sweptIn, func() error {
		entries, err := staging.New(c.Bus).Entries(ctx)
		if err == nil && len(entries) > 0 {
			err = fmt.Errorf("staging holds %v", entries)
		}
		return err
	})
}

// AwaitNoUploads restarts an uploader with settings with which every upload that is not completed has
// expired, and waits, at most for the given limit, until no upload is recorded, and S3 has no
// unfinished multipart upload. No upload may be under way.
func (c Checker) AwaitNoUploads(ctx context.Context, uploader Restarter, limit time.Duration) error {
	uploader.Setenv("UPLOAD_URL_VALID", "1s")
	uploader.Setenv("UPLOAD_EXPIRY", "1s")
	uploader.Setenv("SWEEP_INTERVAL", "50ms")
	if err := uploader.Restart(ctx); err != nil {
		return err
	}
	return Await(ctx, limit, func() error {
		left, err := c.unfinished(ctx)
		return errors.Join(err, c.empty(ctx, event.Uploads()), named("S3 has unfinished uploads", left))
	})
}

// unfinished returns the keys of the multipart uploads that are neither completed nor aborted, wherever in the bucket.
func (c Checker) unfinished(ctx context.Context) (keys []string, err error) {
	ctx, cancel := context.WithCancel(ctx) // ends the listing if the loop does not read all of it
	defer cancel()
	for u := range c.S3.ListIncompleteUploads(ctx, c.Bucket, "", true) {
		if u.Err != nil {
			return nil, objectstore.Translate("list the unfinished uploads", u.Err)
		}
		keys = append(keys, u.Key)
	}
	return keys, ctx.Err()
}

// AwaitNoneShared restarts a dispatcher, which then checks all jobs that share an analysis, and waits, at most for the given
// limit, until there are none. Every job must have ended.
func (c Checker) AwaitNoneShared(ctx context.Context, dispatcher Restarter, limit time.Duration) error {
	if err := dispatcher.Restart(ctx); err != nil {
		return err
	}
	return Await(ctx, limit, func() error { return c.empty(ctx, event.Shared()) })
}

// empty returns an error if a stream contains messages. The stream must have one subject, with a wildcard.
func (c Checker) empty(ctx context.Context, s event.Stream) error {
	subjects, err := c.Bus.Stream(s).Subjects(ctx, s.Subjects[0])
	return errors.Join(err, named(s.Name+" has messages", subjects))
}

// NoResults returns an error if a result of one of the jobs is cached.
func (c Checker) NoResults(ctx context.Context, jobs []string) error {
	subjects, err := c.Bus.Stream(event.Results()).Subjects(ctx, event.AllResults)
	if err != nil {
		return err
	}
	var left []string
	for _, subject := range subjects {
		if job, ok := event.ParseResultSubject(subject); ok && slices.Contains(jobs, job) {
			left = append(left, subject)
		}
	}
	return named("results of erased jobs are cached", left)
}

// named returns an error that lists the violations, or nil if there are none.
func named(what string, wrong []string) error {
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("%s: %v", what, wrong)
}

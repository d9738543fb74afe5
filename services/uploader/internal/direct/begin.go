package direct

import (
	"cmp"
	"context"
	"errors"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
	"sori.internal/shared/media"
)

// joinedBefore continues Join when S3 refuses the parts. If a server is killed after it has joined the parts, while it
// removes them, some parts and the object are left. The object is that of this upload, since no other upload has its key.
func (c *Core) joinedBefore(ctx context.Context, u Upload, refusal error) error {
	_, found, err := c.Bucket.Stat(ctx, u.Key)
	if err != nil || !found {
		return cmp.Or(err, refusal)
	}
	if err := c.Joined(ctx, u); err != nil {
		return err
	}
	_ = c.Bucket.AbortParts(context.WithoutCancel(ctx), u.Key, u.S3ID) // if this fails, the sweeper aborts the upload
	return nil
}

// begin checks the object of an upload and begins its job. An object that is refused is removed with
// its upload. It fails with fault.NotFound if there is no object.
func (c *Core) begin(ctx context.Context, u Upload) error {
	received, err := c.check(ctx, u)
	if fault.Is(err, fault.NotFound) {
		return c.begunBefore(ctx, u, err)
	}
	if isRefusal(err) {
		if removeErr := c.Discard(ctx, u); removeErr != nil {
			return removeErr
		}
		return err
	}
	if err != nil {
		return err
	}
	return c.accept(ctx, u, received)
}

// begunBefore removes the record of an upload that has no object since its job has begun and the recording was removed: the
// process that began the job died before it removed the record. It returns missing if there is no job, or the job is erased.
func (c *Core) begunBefore(ctx context.Context, u Upload, missing error) error {
	log, err := c.Jobs.Read(ctx, u.JobID)
	if err != nil || len(log) == 0 {
		return cmp.Or(err, missing)
	}
	if err := c.forget(ctx, u); err != nil {
		return err
	}
	if log.Erased() {
		return missing
	}
	return nil
}

// accept appends the event that begins the job of an upload, and removes its record.
func (c *Core) accept(ctx context.Context, u Upload, received event.Received) error {
	ctx = context.WithoutCancel(ctx) // the bytes are complete: they become a job even if the client has left
	_, err := c.Jobs.Append(ctx, received, 0)
	if err != nil && !errors.Is(err, event.ErrLogConflict) { // conflict: another call has begun the job
		return err
	}
	if err == nil {
		zerolog.Ctx(ctx).Info().Str(logging.JobID, u.JobID).Int64(logging.TokenID, u.TokenID).Int64(logging.Bytes, received.Size).
			Str("way", string(u.Way())).Msg("upload completed")
	}
	end := c.forget
	if u.Way() == event.WayForm {
		end = c.spend
	}
	if err := end(ctx, u); err != nil { // the sweeper will delete the record
		zerolog.Ctx(ctx).Warn().Err(err).Str(logging.JobID, u.JobID).Msg("record of completed upload not deleted")
	}
	return nil
}

// check returns the event that begins the job of an upload. It fails if the object cannot be a
// recording (isRefusal). The returned event then has the media type application/octet-stream.
func (c *Core) check(ctx context.Context, u Upload) (event.Received, error) {
	received := event.Received{
		JobID: u.JobID, TokenID: u.TokenID, Owner: u.Owner, TextGridURL: u.TextGridURL, PitchURL: u.PitchURL,
		FileName: u.FileName, MediaType: "application/octet-stream", SHA256: u.SHA256, Key: u.Key, Fresh: u.Fresh,
	}
	object, found, err := c.Bucket.Stat(ctx, u.Key)
	if err != nil {
		return received, err
	}
	if !found {
		return received, NotFound()
	}
	received.Size = object.Size
	if object.Size > c.options.MaxBytes {
		return received, fault.ExceedsLimit("file", c.options.MaxBytes, nil)
	}
	var head []byte
	if object.Size > 0 { // S3 refuses to read a range of an empty object
		if head, err = c.Bucket.Head(ctx, u.Key, media.HeadSize); err != nil {
			return received, err
		}
	}
	mediaType, err := media.Recognize(head)
	if mediaType != "" {
		received.MediaType = mediaType
	}
	return received, err
}

// isRefusal reports whether err refuses an object because of its size or its content.
func isRefusal(err error) bool {
	return fault.Is(err, fault.Unsupported) || fault.Is(err, fault.TooLarge) || fault.Is(err, fault.Invalid)
}

// Arrived begins the jobs of the forms that wanted selects and whose object has arrived, and
// returns their number. A client sends no request after the bytes of a form, so Arrived looks the
// objects up in the bucket. No client waits for a response either, so Arrived also begins the job
// of an object that is not a recording: the job fails when its object is read.
func (c *Core) Arrived(ctx context.Context, wanted func(Upload) bool) (begun int, err error) {
	forms, err := c.Records.All(ctx, event.WayForm)
	if err != nil {
		return 0, err
	}
	for _, u := range forms {
		if !wanted(u) {
			continue
		}
		arrived, err := c.arrive(ctx, u)
		if err != nil {
			return begun, err
		}
		if arrived {
			begun++
		}
	}
	return begun, nil
}

// arrive begins the job of a form if its object has arrived.
func (c *Core) arrive(ctx context.Context, u Upload) (bool, error) {
	received, err := c.check(ctx, u)
	switch {
	case fault.Is(err, fault.NotFound):
		return false, nil
	case fault.Is(err, fault.TooLarge): // the S3 server does not enforce the policy of the form
		zerolog.Ctx(ctx).Warn().Err(err).Str(logging.JobID, u.JobID).Msg("uploaded object is too large and removed")
		return true, c.Discard(ctx, u)
	case err != nil && !isRefusal(err):
		return false, err
	}
	return true, c.accept(ctx, u, received)
}

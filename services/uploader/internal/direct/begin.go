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

// joinedBefore continues Join after S3 has refused the parts. An S3 server that is killed while it
// removes joined parts leaves the object and some of the parts. If there is an object, it is that
// of this upload, since no other upload has its key. If there is no object, joinedBefore returns
// the error in the parameter refusal.
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

// begin checks the object of an upload and begins its job. If the object cannot be a recording,
// begin removes the object and the upload. It fails with fault.NotFound if there is no object.
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

// begunBefore handles an upload that has no object. If the job of the upload exists, its recording
// was removed, and the process that began the job died before it removed the record: then
// begunBefore removes the record. It returns missing if there is no job, or if the job is erased.
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

// accept appends the event `received`, which begins the job of an upload, and removes the record of
// the upload.
func (c *Core) accept(ctx context.Context, u Upload, received event.Received) error {
	ctx = context.WithoutCancel(ctx) // the upload is complete, so the job begins even if the client disconnects
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
	if err := end(ctx, u); err != nil { // the sweeper deletes the record later
		zerolog.Ctx(ctx).Warn().Err(err).Str(logging.JobID, u.JobID).Msg("record of completed upload not deleted")
	}
	return nil
}

// check returns the event `received` for an upload, with the media type of its object, or with
// application/octet-stream if that is not known. If the object cannot be a recording, check also
// returns an error, for which isRefusal returns true.
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
	if object.Size > 0 { // S3 answers a range request for an empty object with an error
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

// isRefusal reports whether err means that an object cannot be a recording, by its size or content.
func isRefusal(err error) bool {
	return fault.Is(err, fault.Unsupported) || fault.Is(err, fault.TooLarge) || fault.Is(err, fault.Invalid)
}

// Arrived begins the jobs of those forms whose object is in the bucket and for which the function
// wanted returns true. It returns the number of these jobs. A client sends no request after it has
// sent a form to S3, so Arrived must look for the objects. It also begins the job of an object that
// is not a recording, since there is no request with which the client could be told: the job fails.
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
	case fault.Is(err, fault.TooLarge): // the S3 server has not enforced the size limit of the form
		zerolog.Ctx(ctx).Warn().Err(err).Str(logging.JobID, u.JobID).Msg("uploaded object is too large and removed")
		return true, c.Discard(ctx, u)
	case err != nil && !isRefusal(err):
		return false, err
	}
	return true, c.accept(ctx, u, received)
}

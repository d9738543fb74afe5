package upload

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"
	"time"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/media"
)

// examine reads a recording that its client has sent to the bucket, and appends the event `stored`.
// It fails the job if the recording does not have the announced SHA-256, or cannot be decoded.
func (u *Uploader) examine(ctx context.Context, r event.Received, o Object, log event.Log) error {
	found, duration, err := u.measure(ctx, r, o)
	switch {
	case fault.Is(err, fault.NotFound):
		return u.Fail(ctx, r.JobID, event.CodeStagingLost, "The uploaded audio was lost before it could be stored.")
	case fault.Is(err, fault.Unsupported), fault.Is(err, fault.Invalid):
		refusal := fault.As(err)
		return u.Fail(ctx, r.JobID, refusal.Code, refusal.Detail)
	case err != nil:
		return err
	}
	return u.appendStored(ctx, r, found, duration, log)
}

// measure returns the object with its size, SHA-256 and media type, and the duration of the
// recording; 0 if unknown.
func (u *Uploader) measure(ctx context.Context, r event.Received, o Object) (Object, time.Duration, error) {
	content, err := u.Objects.Open(ctx, o.Key)
	if err != nil {
		return o, 0, err
	}
	defer content.Close()
	body := &progressReader{ctx: ctx, progress: u.Progress, job: r.JobID, size: r.Size, body: content}
	body.publish()
	head, err := io.ReadAll(io.LimitReader(body, media.HeadSize))
	if err != nil {
		return o, 0, err //nolint:wrapcheck // an error of S3 contains the key
	}
	if o.MediaType, err = media.Recognize(head); err != nil {
		return o, 0, err
	}
	meter, sum := media.NewMeter(r.Size), sha256.New()
	if _, err := io.Copy(io.MultiWriter(meter, sum), io.MultiReader(bytes.NewReader(head), body)); err != nil {
		return o, 0, err //nolint:wrapcheck // an error of S3 contains the key
	}
	if err := media.CheckDecodable(meter.Info()); err != nil {
		return o, 0, err
	}
	o.Size, o.SHA256 = body.done, hex.EncodeToString(sum.Sum(nil))
	if r.SHA256 != "" && !strings.EqualFold(r.SHA256, o.SHA256) {
		return o, 0, fault.New(fault.Invalid, "digest-mismatch", "The recording is not the one whose digest was announced.")
	}
	return o, meter.Info().Duration, nil
}

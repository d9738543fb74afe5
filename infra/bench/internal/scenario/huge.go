package scenario

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/minio/minio-go/v7"

	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/loadgen"
)

var errOtherBytes = errors.New("the object in the bucket is not what was sent")

// hugeTolerance is the bound for the growth of a process's peak memory, in MiB, which must not depend on the size of the body.
const hugeTolerance = 64

// huge measures the upload of one very large recording.
func huge(ctx context.Context, b *Bench) error {
	size := b.Size.or(Size{Bytes: 1 << 30})
	// The processes are restarted, because a process that already has much memory could receive the upload without growing.
	limit := map[string]string{"MAX_UPLOAD_BYTES": strconv.FormatInt(size.Bytes+1<<20, 10)}
	if err := b.Target.Restart(ctx, limit, harness.Gateway, harness.Uploader); err != nil {
		return err
	}
	b.Say("huge: one upload of %d bytes", size.Bytes)
	api := b.Target.Client(1)
	defer api.Close()
	if err := b.warmUp(ctx, api, 1, 100_000); err != nil {
		return err
	}
	audio := b.audio(size.Bytes)
	end := b.meter("huge")
	from := len(b.Report.Processes)
	began := time.Now()
	job, err := api.Upload(ctx, b.Target.Token, audio.Form(0))
	if err != nil {
		return err
	}
	acked := time.Now()
	last, err := b.ending(ctx, api, job)
	if err != nil {
		return err
	}
	end(1)
	const name = "huge"
	mb := float64(size.Bytes) / 1e6
	b.add(Figure{Scenario: name, Name: "bytes acknowledged", Value: mb / acked.Sub(began).Seconds(), Unit: "MB/s"})
	b.add(Figure{Scenario: name, Name: "bytes of the completed job", Value: mb / last.At.Sub(began).Seconds(), Unit: "MB/s"})
	for _, p := range b.Report.Processes[from:] {
		if p.Name == harness.Gateway || p.Name == harness.Uploader {
			b.add(Figure{Scenario: name, Name: p.Name + ": peak RSS above before", Value: float64(p.PeakGrowth) / (1 << 20),
				Unit: "MiB", Bound: Bound{AtMost: hugeTolerance}})
		}
	}
	return b.sameBytes(ctx, job, audio)
}

// sameBytes checks that the object in the bucket has the SHA-256 of the uploaded recording.
func (b *Bench) sameBytes(ctx context.Context, job string, audio *loadgen.Noise) error {
	sent, err := audio.Sum(0)
	if err != nil {
		return err
	}
	object, found, err := objectOf(ctx, b.Target, job)
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("%w: job %s has none", errOtherBytes, job)
	}
	body, err := b.Target.S3.GetObject(ctx, b.Target.Bucket, object.Key, minio.GetObjectOptions{})
	if err != nil {
		return fmt.Errorf("read %s: %w", object.Key, err)
	}
	defer func() { _ = body.Close() }() // an error does not matter after reading
	sum := sha256.New()
	if _, err := io.Copy(sum, body); err != nil {
		return fmt.Errorf("read %s: %w", object.Key, err)
	}
	if stored := hex.EncodeToString(sum.Sum(nil)); stored != sent {
		return fmt.Errorf("%w: %s has SHA-256 %s, not %s", errOtherBytes, object.Key, stored, sent)
	}
	b.Report.Note("huge: the object's SHA-256 is that of what was sent")
	return nil
}

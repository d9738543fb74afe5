package upload_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"

	"sori.internal/services/uploader/internal/objects"
	"sori.internal/services/uploader/internal/upload"
	"sori.internal/shared/event"
	"sori.internal/shared/joblog"
	"sori.internal/shared/source"
	"sori.internal/shared/staging"
	"sori.internal/shared/testkit/faults"
)

func sumOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

type faultyJobs struct {
	f    *faults.Plan
	jobs *joblog.Store
}

func (j faultyJobs) Read(ctx context.Context, job string) (event.Log, error) {
	return faults.Read(j.f, "Jobs.Read", func() (event.Log, error) { return j.jobs.Read(ctx, job) })
}

func (j faultyJobs) Update(
	ctx context.Context, job string, known event.Log, decide func(event.Log) (event.Event, error),
) (event.Log, error) {
	return faults.Write(j.f, "Jobs.Update", func() (event.Log, error) { return j.jobs.Update(ctx, job, known, decide) })
}

func (j faultyJobs) Purge(ctx context.Context, job string, erased uint64) error {
	return faults.Run(j.f, "Jobs.Purge", func() error { return j.jobs.Purge(ctx, job, erased) })
}

type faultyProgress struct {
	f        *faults.Plan
	progress upload.Progress
}

func (p faultyProgress) PublishAsync(ctx context.Context, e event.Event) error {
	return faults.Run(p.f, "Progress.PublishAsync", func() error { return p.progress.PublishAsync(ctx, e) })
}

type faultyStaging struct {
	f       *faults.Plan
	staging *staging.Store
}

func (s faultyStaging) Open(ctx context.Context, entry event.Staged) (io.Reader, error) {
	return faults.Read(s.f, "Staging.Open", func() (io.Reader, error) { return s.staging.Open(ctx, entry) })
}

func (s faultyStaging) Entries(ctx context.Context) (map[string]int, error) {
	return faults.Read(s.f, "Staging.Entries", func() (map[string]int, error) { return s.staging.Entries(ctx) })
}

func (s faultyStaging) Delete(ctx context.Context, entry string) error {
	return faults.Run(s.f, "Staging.Delete", func() error { return s.staging.Delete(ctx, entry) })
}

// faultyBody is a body whose first reading may fail.
type faultyBody struct {
	io.ReadCloser
	f     *faults.Plan
	begun bool
}

func (b *faultyBody) Read(p []byte) (int, error) {
	if b.begun {
		return b.ReadCloser.Read(p)
	}
	b.begun = true
	return faults.Read(b.f, "Objects.Open, read", func() (int, error) { return b.ReadCloser.Read(p) })
}

// open opens an object whose content may be unreadable.
func open(ctx context.Context, f *faults.Plan, b *objects.Bucket, key string) (io.ReadCloser, error) {
	return faults.Read(f, "Objects.Open", func() (io.ReadCloser, error) {
		body, err := b.Open(ctx, key)
		return &faultyBody{ReadCloser: body, f: f}, err
	})
}

type faultyObjects struct {
	*objects.Bucket
	f *faults.Plan
}

func (b faultyObjects) Put(ctx context.Context, o upload.Object, body io.Reader) error {
	return faults.Run(b.f, "Objects.Put", func() error { return b.Bucket.Put(ctx, o, body) })
}

func (b faultyObjects) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	return open(ctx, b.f, b.Bucket, key)
}

// statted is an object, if it was found.
type statted struct {
	object upload.Object
	found  bool
}

func (b faultyObjects) Stat(ctx context.Context, key string) (upload.Object, bool, error) {
	s, err := faults.Read(b.f, "Objects.Stat", func() (statted, error) {
		o, found, err := b.Bucket.Stat(ctx, key)
		return statted{o, found}, err
	})
	return s.object, s.found, err
}

func (b faultyObjects) Remove(ctx context.Context, key string) error {
	return faults.Run(b.f, "Objects.Remove", func() error { return b.Bucket.Remove(ctx, key) })
}

func (b faultyObjects) RemovePrefix(ctx context.Context, prefix string) error {
	return faults.Run(b.f, "Objects.RemovePrefix", func() error { return b.Bucket.RemovePrefix(ctx, prefix) })
}

type faultyRemote struct {
	*objects.Bucket
	f *faults.Plan
}

func (b faultyRemote) PutStream(ctx context.Context, o upload.Object, body io.Reader) error {
	return faults.Run(b.f, "Objects.PutStream", func() error { return b.Bucket.PutStream(ctx, o, body) })
}

// headed is the beginning of an object.
type headed struct {
	head   []byte
	object upload.RemoteObject
}

func (b faultyRemote) HeadFrom(ctx context.Context, from source.Object, n int) ([]byte, upload.RemoteObject, error) {
	h, err := faults.Read(b.f, "Objects.HeadFrom", func() (headed, error) {
		head, o, err := b.Bucket.HeadFrom(ctx, from, n)
		return headed{head, o}, err
	})
	return h.head, h.object, err
}

func (b faultyRemote) CopyFrom(ctx context.Context, from source.Object, found upload.RemoteObject, to upload.Object) error {
	return faults.Run(b.f, "Objects.CopyFrom", func() error { return b.Bucket.CopyFrom(ctx, from, found, to) })
}

func (b faultyRemote) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	return open(ctx, b.f, b.Bucket, key)
}

func (b faultyRemote) ListPrefix(ctx context.Context, prefix string) (func(context.Context, string) error, error) {
	remove, err := faults.Read(b.f, "Objects.ListPrefix", func() (func(context.Context, string) error, error) { return b.Bucket.ListPrefix(ctx, prefix) })
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, keep string) error {
		return faults.Run(b.f, "Objects.ListPrefix, remove", func() error { return remove(ctx, keep) })
	}, nil
}

type faultyLetters struct {
	f       *faults.Plan
	letters upload.DeadLetterDeleter
}

func (l faultyLetters) DeleteOfJob(ctx context.Context, job string) error {
	return faults.Run(l.f, "DeadLetters.DeleteOfJob", func() error { return l.letters.DeleteOfJob(ctx, job) })
}

type faultyConsumers struct {
	f         *faults.Plan
	consumers upload.Consumers
}

func (c faultyConsumers) Settled(ctx context.Context, consumer string, seq uint64) (bool, error) {
	return faults.Read(c.f, "Consumers.Settled", func() (bool, error) { return c.consumers.Settled(ctx, consumer, seq) })
}

package app_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/minio/minio-go/v7"

	"sori.internal/services/uploader/app"
	"sori.internal/services/uploader/internal/upload"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

const consumer = "uploader-received"

// rig is a corner with what a gateway would see of it.
type rig struct {
	*testkit.Kit
	t      *testing.T
	bus    *bus.Bus
	client *minio.Client
	bucket string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	k := testkit.New(t)
	client, bucket := k.Bucket()
	return &rig{Kit: k, t: t, bus: k.Bus("gateway", event.Jobs(), event.Dead(), event.Staging()), client: client, bucket: bucket}
}

// run starts the service.
func (r *rig) run(changes map[string]string) *testkit.Instance {
	r.t.Helper()
	return r.Run(app.Run, changes)
}

// stage leaves a body as the gateway does, and returns the event to publish.
func (r *rig) stage(body []byte) event.Received {
	r.t.Helper()
	job := r.NewJob()
	staged, err := r.bus.Stage(r.Context(), job, bytes.NewReader(body))
	must(r.t, err)
	sum := sha256.Sum256(body)
	return event.Received{
		JobID: job, TokenID: 7, TextGridURL: "s3://ref/7.TextGrid", PitchURL: "s3://ref/7.json", FileName: "take 1.wav",
		MediaType: "audio/wav", Size: int64(len(body)), SHA256: hex.EncodeToString(sum[:]), Chunks: staged.Chunks,
	}
}

// accept publishes the event that opens a job.
func (r *rig) accept(e event.Received) uint64 {
	r.t.Helper()
	seq, err := r.bus.Append(r.Context(), e, 0)
	must(r.t, err)
	return seq
}

// upload does both.
func (r *rig) upload(body []byte) event.Received {
	r.t.Helper()
	e := r.stage(body)
	r.accept(e)
	return e
}

// append adds an event to the end of a job's log.
func (r *rig) append(e event.Event) {
	r.t.Helper()
	_, err := r.bus.Decide(r.Context(), e.Job(), nil, func(event.Log) (event.Event, error) { return e, nil })
	must(r.t, err)
}

func key(e event.Received) string { return upload.Key(e.JobID, e.FileName) }

// object reads an object, with its metadata.
func (r *rig) object(key string) ([]byte, minio.ObjectInfo) {
	r.t.Helper()
	o, err := r.client.GetObject(r.Context(), r.bucket, key, minio.GetObjectOptions{})
	must(r.t, err)
	defer o.Close()
	body, err := io.ReadAll(o)
	must(r.t, err)
	info, err := o.Stat()
	must(r.t, err)
	return body, info
}

// keys lists the bucket.
func (r *rig) keys() []string {
	r.t.Helper()
	var keys []string
	for o := range r.client.ListObjects(r.Context(), r.bucket, minio.ListObjectsOptions{Recursive: true}) {
		must(r.t, o.Err)
		keys = append(keys, o.Key)
	}
	return keys
}

// nothingStaged waits until staging is empty.
func (r *rig) nothingStaged() {
	r.t.Helper()
	entries, err := r.bus.StagedEntries(r.Context())
	must(r.t, err)
	if len(entries) > 0 {
		r.t.Errorf("left in staging: %v", entries)
	}
}

// replay delivers every received again, as a consumer that was lost does.
func (r *rig) replay() {
	r.t.Helper()
	must(r.t, r.JetStream().DeleteConsumer(r.Context(), r.Namespace().Stream(event.Jobs().Name), consumer))
	r.Settled(consumer)
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

// wav is a recording of n bytes in 16 kHz, 16 bit, mono: 32000 bytes a second.
func wav(n int) []byte {
	const header = 44
	var b bytes.Buffer
	b.WriteString("RIFF")
	for _, v := range []any{
		uint32(n - 8), []byte("WAVEfmt "), uint32(16), uint16(1), uint16(1), uint32(16000), uint32(32000), uint16(2), uint16(16),
		[]byte("data"), uint32(n - header), random(n - header),
	} {
		_ = binary.Write(&b, binary.LittleEndian, v)
	}
	return b.Bytes()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// stopping asks an instance to end and tells when it has.
func stopping(i *testkit.Instance) <-chan error {
	done := make(chan error, 1)
	go func() { done <- i.Stop() }()
	return done
}

func within(ctx context.Context, t *testing.T, done <-chan error) {
	t.Helper()
	select {
	case err := <-done:
		must(t, err)
	case <-ctx.Done():
		t.Fatal("it does not stop")
	}
}

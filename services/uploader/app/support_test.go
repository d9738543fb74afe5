package app_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/minio/minio-go/v7"

	"sori.internal/services/uploader/app"
	"sori.internal/services/uploader/internal/upload"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/joblog"
	"sori.internal/shared/staging"
	"sori.internal/shared/testkit"
)

const consumer = "uploader-received"

// env is a test environment with the dependencies of the gateway.
type env struct {
	*testkit.Kit
	t       *testing.T
	bus     *bus.Bus
	jobs    *joblog.Store
	staging *staging.Store
	client  *minio.Client
	bucket  string
}

func newEnv(t *testing.T) *env {
	t.Helper()
	k := testkit.New(t)
	client, bucket := k.Bucket()
	b := k.Bus("gateway", event.Jobs(), event.Dead(), event.Staging())
	return &env{Kit: k, t: t, bus: b, jobs: joblog.New(b), staging: staging.New(b), client: client, bucket: bucket}
}

// run starts the service.
func (env *env) run(changes map[string]string) *testkit.Instance {
	env.t.Helper()
	return env.Run(app.Run, changes)
}

// stage stages a recording as the gateway does, and returns the event `received`, which is not
// appended yet.
func (env *env) stage(body []byte) event.Received {
	env.t.Helper()
	job := env.NewJob()
	staged, err := env.staging.Put(env.Context(), job, bytes.NewReader(body))
	must(env.t, err)
	sum := sha256.Sum256(body)
	return event.Received{
		JobID: job, TokenID: 7, TextGridURL: "s3://ref/7.TextGrid", PitchURL: "s3://ref/7.json", FileName: "take 1.wav",
		MediaType: "audio/wav", Size: int64(len(body)), SHA256: hex.EncodeToString(sum[:]), Chunks: staged.Chunks,
	}
}

// accept appends the event `received`, the first event of a job.
func (env *env) accept(e event.Received) uint64 {
	env.t.Helper()
	seq, err := env.jobs.Append(env.Context(), e, 0)
	must(env.t, err)
	return seq
}

// upload stages a recording and appends the event `received`.
func (env *env) upload(body []byte) event.Received {
	env.t.Helper()
	e := env.stage(body)
	env.accept(e)
	return e
}

// append adds an event to the end of a job's log.
func (env *env) append(e event.Event) {
	env.t.Helper()
	env.Append(env.bus, e)
}

func key(e event.Received) string { return upload.Key(e.JobID, e.FileName) }

// object reads an object, with its metadata.
func (env *env) object(key string) ([]byte, minio.ObjectInfo) {
	env.t.Helper()
	o, err := env.client.GetObject(env.Context(), env.bucket, key, minio.GetObjectOptions{})
	must(env.t, err)
	defer o.Close()
	body, err := io.ReadAll(o)
	must(env.t, err)
	info, err := o.Stat()
	must(env.t, err)
	return body, info
}

// keys returns the keys of the objects in the bucket.
func (env *env) keys() []string {
	env.t.Helper()
	var keys []string
	for o := range env.client.ListObjects(env.Context(), env.bucket, minio.ListObjectsOptions{Recursive: true}) {
		must(env.t, o.Err)
		keys = append(keys, o.Key)
	}
	return keys
}

// nothingStaged checks that staging is empty.
func (env *env) nothingStaged() {
	env.t.Helper()
	entries, err := env.staging.Entries(env.Context())
	must(env.t, err)
	if len(entries) > 0 {
		env.t.Errorf("left in staging: %v", entries)
	}
}

// checkKeys checks the keys of the objects in the bucket.
func (env *env) checkKeys(want ...string) {
	env.t.Helper()
	if keys := env.keys(); !slices.Equal(keys, want) {
		env.t.Errorf("in the bucket: %v, want %v", keys, want)
	}
}

// uploadHeld starts the service and uploads a recording. The copy into the bucket stalls until
// release is called.
func (env *env) uploadHeld() (e event.Received, release func()) {
	env.t.Helper()
	proxy := env.Proxy(env.Settings(nil)["S3_ENDPOINT"])
	env.run(map[string]string{"S3_ENDPOINT": proxy.URL})
	env.Settled(consumer)
	held := proxy.Hold(1 << 20)
	e = env.upload(wav(3 << 20))
	<-held
	return e, proxy.Restore
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

// wav returns a WAV file of n bytes: 16 kHz, 16 bit, mono, which is 32000 bytes a second.
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

// stopAsync stops an instance in the background. The channel receives the error of Stop.
func stopAsync(i *testkit.Instance) <-chan error {
	done := make(chan error, 1)
	go func() { done <- i.Stop() }()
	return done
}

// waitFor waits for the result of stopAsync.
func waitFor(ctx context.Context, t *testing.T, done <-chan error) {
	t.Helper()
	select {
	case err := <-done:
		must(t, err)
	case <-ctx.Done():
		t.Fatal("it does not stop")
	}
}

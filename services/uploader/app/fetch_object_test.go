package app_test

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"

	"sori.internal/services/uploader/app"
	"sori.internal/shared/config"
	"sori.internal/shared/event"
	"sori.internal/shared/lifecycle"
	"sori.internal/shared/source"
	"sori.internal/shared/testkit"
)

// sourceBucket makes a second bucket, from which the uploader copies recordings.
func (env *env) sourceBucket() string {
	env.t.Helper()
	name := env.bucket + "-in"
	must(env.t, env.client.MakeBucket(env.Context(), name, minio.MakeBucketOptions{}))
	env.t.Cleanup(func() {
		for o := range env.client.ListObjects(env.Context(), name, minio.ListObjectsOptions{Recursive: true}) {
			_ = env.client.RemoveObject(env.Context(), name, o.Key, minio.RemoveObjectOptions{})
		}
		_ = env.client.RemoveBucket(env.Context(), name)
	})
	return name
}

func TestAnObjectOfAnAllowedBucketIsCopied(t *testing.T) {
	t.Parallel()
	env, body := newEnv(t), wav(6<<20)
	bucket := env.sourceBucket()
	for key, b := range map[string][]byte{"in/a b.wav": body, "in/text": []byte("no sound"), "in/large.wav": wav(7<<20 + 1), "out/a.wav": body} {
		_, err := env.client.PutObject(env.Context(), bucket, key, bytes.NewReader(b), int64(len(b)), minio.PutObjectOptions{ContentType: "text/plain"})
		must(t, err)
	}
	env.runFetching(map[string]string{"FETCH_ALLOWED": "s3://" + bucket + "/in/", "MAX_FETCH_BYTES": strconv.Itoa(7 << 20)})
	e := env.analyze(source.Source{URL: "s3://" + bucket + "/in/a b.wav"})
	stored := testkit.Await[event.Stored](env.Kit, env.bus, e.JobID)
	env.checkStored(stored, body)
	if diff := stored.Duration - float64(len(body)-44)/32000; diff > 0.001 || diff < -0.001 {
		t.Errorf("duration %v", stored.Duration)
	}
	for key, code := range map[string]string{
		"in/missing.wav": "fetch-failed", "in/text": "unsupported-audio", "in/large.wav": "fetch-too-large",
		"out/a.wav": "fetch-refused-address", "in/../out/a.wav": "fetch-refused-address",
	} {
		e := env.analyze(source.Source{URL: "s3://" + bucket + "/" + key})
		if failed := testkit.Await[event.Failed](env.Kit, env.bus, e.JobID); failed.Code != code || failed.Retryable {
			t.Errorf("%s: %+v", key, failed)
		}
	}
	other := env.analyze(source.Source{URL: "s3://" + env.bucket + "/" + stored.Key})
	if failed := testkit.Await[event.Failed](env.Kit, env.bus, other.JobID); failed.Code != "fetch-refused-address" {
		t.Errorf("the recording of another job: %+v", failed)
	}
	env.Settled(fetches)
	env.checkKeys(stored.Key)
}

func TestTheBucketOfRecordingsCannotBeAllowed(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	settings := env.Settings(map[string]string{"FETCH_ALLOWED": "s3://" + env.bucket + "/audio/"})
	err := app.Run(env.Context(), lifecycle.Process{Stderr: io.Discard, Lookup: config.Map(settings)})
	if err == nil || !strings.Contains(err.Error(), "FETCH_ALLOWED") {
		t.Error(errors.New("it starts"), err)
	}
}

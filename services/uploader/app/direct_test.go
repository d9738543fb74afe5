package app_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"sori.internal/services/uploader/internal/direct"
	"sori.internal/services/uploader/internal/objects"
	"sori.internal/services/uploader/internal/uploads"
	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
	"sori.internal/shared/uploadrequest"
)

func TestARecordingSentInPartsBecomesAJob(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(nil, "mina")[0]
	recording := wav(11 << 20)
	b := mina.begin(uploadrequest.Description{SHA256: strings.ToUpper(sumOf(recording)), Fresh: true})
	job := mina.complete(b, mina.sendAll(b, recording))
	stored := testkit.Await[event.Stored](env.Kit, env.bus, job)
	received := testkit.Await[event.Received](env.Kit, env.bus, job)
	if received.Owner != "mina" || received.TokenID != 7 || received.FileName != "긴 녹음.wav" || received.MediaType != "audio/wav" || received.Size != 11<<20 || received.Key != b.Key || !received.Fresh {
		t.Errorf("received is %+v", received)
	}
	if stored.SHA256 != sumOf(recording) || stored.Size != 11<<20 || stored.Duration < 360 || stored.TextGridURL != "s3://ref/7.TextGrid" || stored.Key != b.Key || stored.MediaType != "audio/wav" {
		t.Errorf("stored is %+v", stored)
	}
	if got, _ := env.object(stored.Key); !bytes.Equal(got, recording) {
		t.Error("the object is not what was sent")
	}
	mina.complete(b, []sent{{1, "x"}}) // completing again succeeds without checking the parts
	if names := env.EventNames(env.bus, job); !slices.Equal(names, []event.Name{event.NameReceived, event.NameStored}) {
		t.Errorf("the log is %v", names)
	}
	env.checkNothingLeft()
}

func TestAnUploadIsCompletedOnceHoweverManyComplete(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	one, two := env.callers(nil, "mina")[0], env.callers(nil, "mina")[0]
	b := one.begin(uploadrequest.Description{})
	parts := one.sendAll(b, wav(6<<20))
	var all sync.WaitGroup
	for _, c := range []caller{one, two, one, two} {
		all.Go(func() { c.complete(b, parts) })
	}
	all.Wait()
	testkit.Await[event.Stored](env.Kit, env.bus, b.JobID)
	if names := env.EventNames(env.bus, b.JobID); !slices.Equal(names, []event.Name{event.NameReceived, event.NameStored}) {
		t.Errorf("the log is %v", names)
	}
	env.checkNothingLeft()
}

// An S3 server was killed after it had joined the parts, while it removed them: the object exists,
// and the second part is missing. The upload must be completed with the object.
func TestAnUploadWhoseServerWasKilledWhileItRemovedThePartsIsCompleted(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(nil, "mina")[0]
	recording := wav(6 << 20)
	b := mina.begin(uploadrequest.Description{})
	parts := []sent{{1, mina.send(mina.link(b, 1), recording[:5<<20])}, {2, `"00000000000000000000000000000000"`}}
	mina.want(http.StatusUnprocessableEntity, "invalid-parts", "POST", b.path("complete"), map[string]any{"parts": parts}, nil)
	env.put(b.Key, recording)
	mina.complete(b, parts)
	if stored := testkit.Await[event.Stored](env.Kit, env.bus, b.JobID); stored.SHA256 != sumOf(recording) {
		t.Errorf("stored is %+v", stored)
	}
	env.checkNothingLeft()
}

func TestPartsAreListedAndSignedAgain(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(nil, "mina")[0]
	b := mina.begin(uploadrequest.Description{})
	recording := wav(6 << 20)
	first := mina.send(mina.link(b, 1), recording[:5<<20])
	var listed []struct {
		PartNumber int
		Size       int64
		ETag       string
	}
	mina.want(http.StatusOK, "", "GET", b.path(""), nil, &listed)
	if len(listed) != 1 || listed[0].PartNumber != 1 || listed[0].Size != 5<<20 || strings.Trim(listed[0].ETag, `"`) != strings.Trim(first, `"`) {
		t.Errorf("the parts are %+v", listed)
	}
	var signed struct{ PresignedURLs map[int]string }
	mina.want(http.StatusOK, "", "GET", b.path("batch")+"&partNumbers=1,2", nil, &signed)
	second := mina.send(signed.PresignedURLs[2], wav(1<<20))
	again := mina.send(signed.PresignedURLs[2], recording[5<<20:]) // replaces the part
	mina.want(http.StatusUnprocessableEntity, "invalid-parts", "POST", b.path("complete"), map[string]any{"parts": []sent{{1, first}, {2, second}}}, nil)
	job := mina.complete(b, []sent{{2, again}, {1, first}})
	if stored := testkit.Await[event.Stored](env.Kit, env.bus, job); stored.SHA256 != sumOf(recording) {
		t.Errorf("stored is %+v", stored)
	}
}

func TestAPartWhoseURLHasExpiredIsSentToANewOne(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina, hasty := env.callers(nil, "mina")[0], env.callers(map[string]string{"UPLOAD_URL_VALID": "1s"}, "mina")[0]
	b, recording := mina.begin(uploadrequest.Description{}), wav(1<<20)
	var signed struct{ URL string }
	hasty.want(http.StatusOK, "", "GET", b.path("1"), nil, &signed)
	testkit.Eventually(t, func() error {
		req, err := http.NewRequestWithContext(env.Context(), http.MethodPut, signed.URL, strings.NewReader("other bytes"))
		must(t, err)
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		must(t, resp.Body.Close())
		if resp.StatusCode != http.StatusForbidden {
			return fmt.Errorf("S3 answers %s", resp.Status)
		}
		return nil
	})
	job := mina.complete(b, []sent{{1, mina.send(mina.link(b, 1), recording)}})
	if stored := testkit.Await[event.Stored](env.Kit, env.bus, job); stored.SHA256 != sumOf(recording) {
		t.Errorf("stored is %+v", stored)
	}
}

func TestOnlyTheOwnerUsesAnUpload(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	all := env.callers(nil, "mina", "jun")
	mina, jun := all[0], all[1]
	b, other := mina.begin(uploadrequest.Description{}), mina.begin(uploadrequest.Description{})
	own := jun.begin(uploadrequest.Description{})
	parts := map[string]any{"parts": []sent{{1, mina.send(mina.link(b, 1), wav(1<<20))}}}
	for name, foreign := range map[string]begun{
		"another's upload":           b,
		"another's key":              {Key: b.Key, UploadID: own.UploadID},
		"another's id":               {Key: own.Key, UploadID: b.UploadID},
		"no key":                     {UploadID: own.UploadID},
		"a key that is none of ours": {Key: "audio/../secret", UploadID: own.UploadID},
		"an id that was never given": {Key: own.Key, UploadID: "nonsense"},
	} {
		t.Logf("%s", name)
		jun.want(http.StatusNotFound, "upload-not-found", "GET", foreign.path(""), nil, nil)
		jun.want(http.StatusNotFound, "upload-not-found", "GET", foreign.path("1"), nil, nil)
		jun.want(http.StatusNotFound, "upload-not-found", "GET", foreign.path("batch")+"&partNumbers=1", nil, nil)
		jun.want(http.StatusNotFound, "upload-not-found", "POST", foreign.path("complete"), parts, nil)
		jun.want(http.StatusNotFound, "upload-not-found", "DELETE", foreign.path(""), nil, nil)
	}
	mina.want(http.StatusNotFound, "upload-not-found", "GET", begun{Key: b.Key, UploadID: other.UploadID}.path("1"), nil, nil)
	testkit.Await[event.Stored](env.Kit, env.bus, mina.complete(b, parts["parts"].([]sent)))
	jun.want(http.StatusNotFound, "upload-not-found", "POST", b.path("complete"), parts, nil) // another user must not get the job
	if resp, err := http.Get(mina.base + other.path("1")); err != nil || resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a principal: %v, %v", resp, err)
	}
}

func TestBadRequestsOfUploadsAreNamed(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(nil, "mina")[0]
	b := mina.begin(uploadrequest.Description{})
	etag := mina.send(mina.link(b, 1), wav(1<<20))
	const invalid = "validation-failed"
	for _, path := range []string{b.path("0"), b.path("10001"), b.path("x"), b.path("batch"), b.path("batch") + "&partNumbers=1,,2", b.path("batch") + "&partNumbers=" + strings.Repeat("1,", 1000) + "1"} {
		mina.want(http.StatusUnprocessableEntity, invalid, "GET", path, nil, nil)
	}
	for _, parts := range []any{nil, []sent{}, []sent{{0, etag}}, []sent{{10_001, etag}}, []sent{{1, ""}}, []sent{{1, etag}, {1, etag}}} {
		mina.want(http.StatusUnprocessableEntity, invalid, "POST", b.path("complete"), map[string]any{"parts": parts}, nil)
	}
	mina.want(http.StatusUnprocessableEntity, invalid, "POST", b.path("complete"), "nonsense", nil)
	mina.want(http.StatusUnprocessableEntity, invalid, "POST", b.path("complete"), map[string]any{"parts": []any{map[string]any{"PartNumber": "1", "ETag": etag}}}, nil)
	mina.want(http.StatusRequestEntityTooLarge, "too-large", "POST", b.path("complete"), strings.Repeat("x", 2<<20), nil)
	mina.want(http.StatusUnprocessableEntity, "invalid-parts", "POST", b.path("complete"), map[string]any{"parts": []sent{{1, `"00000000000000000000000000000000"`}}}, nil)
	mina.send(mina.link(b, 2), wav(1<<20))
	second := mina.send(mina.link(b, 2), wav(1<<20))
	mina.want(http.StatusUnprocessableEntity, "part-too-small", "POST", b.path("complete"), map[string]any{"parts": []sent{{1, etag}, {2, second}}}, nil)
	full := mina.send(mina.link(b, 3), wav(5<<20))
	mina.want(http.StatusUnprocessableEntity, "invalid-parts", "POST", b.path("complete"), map[string]any{"parts": []sent{{3, full}, {4, full}}}, nil) // 4 is missing
	mina.want(http.StatusBadRequest, "malformed-request", "POST", "/s3/multipart", nil, nil)                                                           // without the gateway's description
	testkit.Await[event.Stored](env.Kit, env.bus, mina.complete(b, []sent{{1, etag}}))                                                                 // the upload can still be completed
}

func TestWhatIsNoRecordingIsRefusedAndRemoved(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(map[string]string{"MAX_DIRECT_UPLOAD_BYTES": "6000000"}, "mina")[0]
	for code, c := range map[string]struct {
		status int
		body   []byte
	}{
		"unsupported-audio": {http.StatusUnsupportedMediaType, []byte("<html>no sound</html>")},
		"too-large":         {http.StatusRequestEntityTooLarge, wav(6_000_001)},
		"empty-file":        {http.StatusUnprocessableEntity, nil},
	} {
		b := mina.begin(uploadrequest.Description{})
		parts := mina.sendAll(b, c.body)
		if len(c.body) == 0 {
			parts = []sent{{1, mina.send(mina.link(b, 1), nil)}}
		}
		mina.want(c.status, code, "POST", b.path("complete"), map[string]any{"parts": parts}, nil)
		mina.want(http.StatusNotFound, "upload-not-found", "POST", b.path("complete"), map[string]any{"parts": parts}, nil)
	}
	env.checkKeys()
	env.checkNothingLeft()

	// The digest is wrong, which shows only when the whole recording is read: the job fails.
	b := mina.begin(uploadrequest.Description{SHA256: sumOf([]byte("another"))})
	job := mina.complete(b, mina.sendAll(b, wav(1<<20)))
	if failed := testkit.Await[event.Failed](env.Kit, env.bus, job); failed.Code != "digest-mismatch" {
		t.Errorf("failed with %+v", failed)
	}
	testkit.Eventually(t, func() error {
		if keys := env.keys(); len(keys) > 0 {
			return fmt.Errorf("left: %v", keys)
		}
		return nil
	})
}

func TestAnAbortedUploadCannotBeCompleted(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(nil, "mina")[0]
	b := mina.begin(uploadrequest.Description{})
	parts := map[string]any{"parts": mina.sendAll(b, wav(1<<20))}
	mina.want(http.StatusOK, "", "DELETE", b.path(""), nil, nil)
	mina.want(http.StatusNotFound, "upload-not-found", "DELETE", b.path(""), nil, nil)
	mina.want(http.StatusNotFound, "upload-not-found", "POST", b.path("complete"), parts, nil)
	mina.want(http.StatusNotFound, "upload-not-found", "GET", b.path("1"), nil, nil)
	env.checkKeys()
	env.checkNothingLeft()
}

func TestUploadsOfAnOwnerAreLimited(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	all := env.callers(map[string]string{"MAX_UNFINISHED_UPLOADS": "2"}, "mina", "jun")
	first := all[0].begin(uploadrequest.Description{})
	all[0].begin(uploadrequest.Description{})
	header := described(t, uploadrequest.Description{TokenID: 7})
	if status, code := all[0].call("POST", "/s3/multipart", nil, nil, header); status != http.StatusTooManyRequests || code != "too-many-uploads" {
		t.Errorf("the third is answered with %d %s", status, code)
	}
	all[1].begin(uploadrequest.Description{}) // another's
	all[0].want(http.StatusOK, "", "DELETE", first.path(""), nil, nil)
	all[0].begin(uploadrequest.Description{})
}

func TestUploadsThatAreNotCompletedAreSwept(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(nil, "mina")[0]
	b := mina.begin(uploadrequest.Description{})
	link := mina.link(b, 1)
	mina.send(link, wav(1<<20))
	mina.form()
	core := minio.Core{Client: env.client}
	unrecorded, err := core.NewMultipartUpload(env.Context(), env.bucket, "audio/"+env.NewJob()+"_x.wav", minio.PutObjectOptions{})
	must(t, err)
	if unrecorded == b.UploadID {
		t.Fatal("S3 gives one id twice")
	}
	foreign, err := core.NewMultipartUpload(env.Context(), env.bucket, "backup/x", minio.PutObjectOptions{})
	must(t, err)

	sweep(env, time.Now().Add(25*time.Hour))
	for u := range env.client.ListIncompleteUploads(env.Context(), env.bucket, "", true) {
		if must(t, u.Err); u.UploadID != foreign {
			t.Errorf("left in S3: %+v", u)
		}
	}
	if left := env.Messages(event.Uploads()); len(left) > 0 {
		t.Errorf("left of uploads: %s", left[0].Data)
	}
	mina.want(http.StatusNotFound, "upload-not-found", "GET", b.path("1"), nil, nil)
	env.checkKeys()
}

func TestSweepingKeepsWhatHasTime(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(nil, "mina")[0]
	b := mina.begin(uploadrequest.Description{})
	parts := mina.sendAll(b, wav(6<<20))
	open, size := sweep(env, time.Now().Add(23*time.Hour))
	if open != 1 || size != 6<<20 {
		t.Errorf("%v uploads of %v bytes are counted", open, size)
	}
	testkit.Await[event.Stored](env.Kit, env.bus, mina.complete(b, parts))
}

func TestARecordThatCannotBeReadKeepsNoOtherFromBeingSwept(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(nil, "mina")[0]
	mina.begin(uploadrequest.Description{})
	ack, err := env.bus.PublishBytes(event.UploadSubject(event.WayMultipart, "mina", env.NewJob()), []byte(`{"JobID":7`))
	must(t, err)
	must(t, ack.Wait(env.Context()))
	sweep(env, time.Now().Add(25*time.Hour))
	if left := env.Messages(event.Uploads()); len(left) != 1 || !strings.HasPrefix(string(left[0].Data), `{"JobID":7`) {
		t.Errorf("%d records are left", len(left))
	}
}

// lockedBucket is a bucket whose policy or retention does not allow that the parts of some uploads
// are removed.
type lockedBucket struct {
	direct.Bucket
	locked map[string]bool // by the id of the upload in S3
}

func (b lockedBucket) AbortParts(ctx context.Context, key, s3ID string) error {
	if b.locked[s3ID] {
		return errors.New("remove parts: access denied")
	}
	return b.Bucket.AbortParts(ctx, key, s3ID)
}

func TestAnUploadThatCannotBeRemovedKeepsNoOtherFromBeingSwept(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(nil, "mina")[0]
	kept := mina.begin(uploadrequest.Description{})
	mina.send(mina.link(kept, 1), wav(1<<20))
	mina.begin(uploadrequest.Description{})
	core := minio.Core{Client: env.client}
	_, err := core.NewMultipartUpload(env.Context(), env.bucket, "audio/"+env.NewJob()+"_x.wav", minio.PutObjectOptions{})
	must(t, err)
	bucket := lockedBucket{Bucket: objects.New(env.client, env.client, env.bucket), locked: map[string]bool{kept.UploadID: true}}
	sweeper := sweeperOf(env, bucket)
	at := time.Now().Add(25 * time.Hour)
	if removed, err := sweeper.Sweep(env.Context(), at); removed != 2 || err == nil {
		t.Errorf("%d are removed, with the error %v", removed, err)
	}
	if sweeper.Open() != 1 || sweeper.Bytes() != 1<<20 {
		t.Errorf("%v uploads of %v bytes are counted", sweeper.Open(), sweeper.Bytes())
	}
	if left := env.Messages(event.Uploads()); len(left) != 1 {
		t.Errorf("%d records are left", len(left))
	}
	delete(bucket.locked, kept.UploadID)
	if removed, err := sweeper.Sweep(env.Context(), at); removed != 1 || err != nil {
		t.Errorf("afterwards %d are removed, with the error %v", removed, err)
	}
}

func sweeperOf(env *env, bucket direct.Bucket) *direct.Sweeper {
	core := direct.New(direct.Dependencies{Records: uploads.New(env.bus), Bucket: bucket, Jobs: env.jobs},
		direct.Options{MaxBytes: 1 << 30, Expiry: 24 * time.Hour})
	return direct.NewSweeper(core, time.Hour, env.Log())
}

// sweep calls Sweep with the given time and the default settings. It returns the values of the two
// gauges after the sweep.
func sweep(env *env, at time.Time) (open, size float64) {
	env.t.Helper()
	sweeper := sweeperOf(env, objects.New(env.client, env.client, env.bucket))
	if _, err := sweeper.Sweep(env.Context(), at); err != nil {
		env.t.Fatal(err)
	}
	return sweeper.Open(), sweeper.Bytes()
}

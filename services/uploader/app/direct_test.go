package app_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"net/url"
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
	"sori.internal/shared/principal"
	"sori.internal/shared/testkit"
	"sori.internal/shared/uploadrequest"
)

// caller sends requests to an uploader as the gateway does, for one owner.
type caller struct {
	env   *env
	base  string
	owner string
}

// begun is an upload as the caller knows it.
type begun struct {
	Key      string
	UploadID string
	Bucket   string
	JobID    string `json:"job_id"`
}

// call sends a request and decodes the answer. It returns the status, and the code of a problem.
func (c caller) call(method, path string, body, into any, header http.Header) (status int, code string) {
	c.env.t.Helper()
	text, err := json.Marshal(body)
	must(c.env.t, err)
	req, err := http.NewRequestWithContext(c.env.Context(), method, c.base+path, bytes.NewReader(text))
	must(c.env.t, err)
	maps.Copy(req.Header, header)
	signer := principal.NewSigner(principal.Config{Secret: "test-secret-of-enough-length-0123"})
	signed, err := signer.Sign(principal.Principal{Owner: c.owner, Scopes: principal.UserScopes()}, time.Now())
	must(c.env.t, err)
	req.Header.Set(principal.Header, signed)
	resp, err := http.DefaultClient.Do(req)
	must(c.env.t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	must(c.env.t, err)
	var problem struct{ Code string }
	if resp.StatusCode >= http.StatusBadRequest {
		must(c.env.t, json.Unmarshal(answer, &problem))
	} else if into != nil {
		must(c.env.t, json.Unmarshal(answer, into))
	}
	return resp.StatusCode, problem.Code
}

// want calls and fails the test unless the status and the code are as wanted.
func (c caller) want(status int, code, method, path string, body, into any) {
	c.env.t.Helper()
	if got, gotCode := c.call(method, path, body, into, nil); got != status || gotCode != code {
		c.env.t.Errorf("%s %s: %d %s, want %d %s", method, path, got, gotCode, status, code)
	}
}

func described(t *testing.T, d uploadrequest.Description) http.Header {
	t.Helper()
	text, err := d.Encode()
	must(t, err)
	return http.Header{uploadrequest.Header: {text}}
}

// begin begins a multipart upload.
func (c caller) begin(sha256 string) begun {
	c.env.t.Helper()
	var b begun
	d := uploadrequest.Description{TokenID: 7, TextGridURL: "s3://ref/7.TextGrid", FileName: "긴 녹음.wav", SHA256: sha256}
	if status, code := c.call("POST", "/s3/multipart", nil, &b, described(c.env.t, d)); status != http.StatusOK || b.UploadID == "" || b.Key == "" {
		c.env.t.Fatalf("begin: %d %s %+v", status, code, b)
	}
	return b
}

// path returns the path of an upload.
func (b begun) path(action string) string {
	p := "/s3/multipart/" + url.PathEscape(b.UploadID)
	if action != "" {
		p += "/" + action
	}
	return p + "?key=" + url.QueryEscape(b.Key)
}

// link returns the URL of a part.
func (c caller) link(b begun, number int) string {
	c.env.t.Helper()
	var signed struct {
		URL     string
		Expires int
	}
	c.want(http.StatusOK, "", "GET", b.path(fmt.Sprint(number)), nil, &signed)
	if signed.Expires < 60 {
		c.env.t.Errorf("the URL of part %d expires after %d s", number, signed.Expires)
	}
	return signed.URL
}

// send sends a part to S3 and returns its ETag.
func (c caller) send(link string, part []byte) string {
	c.env.t.Helper()
	req, err := http.NewRequestWithContext(c.env.Context(), http.MethodPut, link, bytes.NewReader(part))
	must(c.env.t, err)
	resp, err := http.DefaultClient.Do(req)
	must(c.env.t, err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		answer, _ := io.ReadAll(resp.Body)
		c.env.t.Fatalf("part: %s %s", resp.Status, answer)
	}
	return resp.Header.Get("ETag")
}

// sent is a part that was sent.
type sent struct {
	PartNumber int
	ETag       string
}

// sendAll sends a recording in parts of 5 MiB, the last one first.
func (c caller) sendAll(b begun, recording []byte) []sent {
	c.env.t.Helper()
	const size = 5 << 20
	parts := slices.Collect(slices.Chunk(recording, size))
	var all []sent
	for i, part := range slices.Backward(parts) {
		all = append(all, sent{i + 1, c.send(c.link(b, i+1), part)})
	}
	return all
}

func (c caller) complete(b begun, parts []sent) (job string) {
	c.env.t.Helper()
	var done struct {
		Location, Key, Bucket string
		JobID                 string `json:"job_id"`
	}
	c.want(http.StatusOK, "", "POST", b.path("complete"), map[string]any{"parts": parts}, &done)
	if done.JobID != b.JobID || done.Key != b.Key || done.Bucket != c.env.bucket || done.Location != "/jobs/"+b.JobID+"/audio" {
		c.env.t.Errorf("completed as %+v; it was begun as %+v", done, b)
	}
	return done.JobID
}

// callers starts an uploader and returns a caller for each owner.
func (env *env) callers(changes map[string]string, owners ...string) []caller {
	env.t.Helper()
	i := ready(env.t, env.Kit, changes)
	var all []caller
	for _, o := range owners {
		all = append(all, caller{env, i.URL, o})
	}
	return all
}

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// checkNothingLeft checks that no upload is recorded and that S3 has no parts.
func (env *env) checkNothingLeft() {
	env.t.Helper()
	if left := env.Messages(event.Uploads()); len(left) > 0 {
		env.t.Errorf("left of uploads: %s", left[0].Data)
	}
	for u := range env.client.ListIncompleteUploads(env.Context(), env.bucket, "", true) {
		env.t.Errorf("left in S3: %+v", u)
	}
}

func TestARecordingSentInPartsBecomesAJob(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(nil, "mina")[0]
	recording := wav(11 << 20)
	b := mina.begin(strings.ToUpper(sumOf(recording)))
	job := mina.complete(b, mina.sendAll(b, recording))
	stored := testkit.Await[event.Stored](env.Kit, env.bus, job)
	received := testkit.Await[event.Received](env.Kit, env.bus, job)
	if received.Owner != "mina" || received.TokenID != 7 || received.FileName != "긴 녹음.wav" || received.MediaType != "audio/wav" || received.Size != 11<<20 || received.Key != b.Key {
		t.Errorf("received is %+v", received)
	}
	if stored.SHA256 != sumOf(recording) || stored.Size != 11<<20 || stored.Duration < 360 || stored.TextGridURL != "s3://ref/7.TextGrid" || stored.Key != b.Key || stored.MediaType != "audio/wav" {
		t.Errorf("stored is %+v", stored)
	}
	if got, _ := env.object(stored.Key); !bytes.Equal(got, recording) {
		t.Error("the object is not what was sent")
	}
	mina.complete(b, []sent{{1, "x"}}) // again, whatever the parts: the job is the same
	if names := env.EventNames(env.bus, job); !slices.Equal(names, []event.Name{event.NameReceived, event.NameStored}) {
		t.Errorf("the log is %v", names)
	}
	env.checkNothingLeft()
}

func TestAnUploadIsCompletedOnceHoweverManyComplete(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	one, two := env.callers(nil, "mina")[0], env.callers(nil, "mina")[0]
	b := one.begin("")
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

func TestPartsAreListedAndSignedAgain(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(nil, "mina")[0]
	b := mina.begin("")
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
	again := mina.send(signed.PresignedURLs[2], recording[5<<20:]) // the later one counts
	mina.want(http.StatusUnprocessableEntity, "invalid-parts", "POST", b.path("complete"), map[string]any{"parts": []sent{{1, first}, {2, second}}}, nil)
	job := mina.complete(b, []sent{{2, again}, {1, first}})
	if stored := testkit.Await[event.Stored](env.Kit, env.bus, job); stored.SHA256 != sumOf(recording) {
		t.Errorf("stored is %+v", stored)
	}
}

func TestOnlyTheOwnerUsesAnUpload(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	all := env.callers(nil, "mina", "jun")
	mina, jun := all[0], all[1]
	b, other := mina.begin(""), mina.begin("")
	own := jun.begin("")
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
	jun.want(http.StatusNotFound, "upload-not-found", "POST", b.path("complete"), parts, nil) // nor the job of a completed one
	if resp, err := http.Get(mina.base + other.path("1")); err != nil || resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a principal: %v, %v", resp, err)
	}
}

func TestBadRequestsOfUploadsAreNamed(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(nil, "mina")[0]
	b := mina.begin("")
	etag := mina.send(mina.link(b, 1), wav(1<<20))
	const invalid = "validation-failed"
	for _, path := range []string{b.path("0"), b.path("10001"), b.path("x"), b.path("batch"), b.path("batch") + "&partNumbers=1,,2", b.path("batch") + "&partNumbers=" + strings.Repeat("1,", 1000) + "1"} {
		mina.want(http.StatusUnprocessableEntity, invalid, "GET", path, nil, nil)
	}
	for _, parts := range []any{nil, []sent{}, []sent{{0, etag}}, []sent{{10_001, etag}}, []sent{{1, ""}}, []sent{{1, etag}, {1, etag}}} {
		mina.want(http.StatusUnprocessableEntity, invalid, "POST", b.path("complete"), map[string]any{"parts": parts}, nil)
	}
	mina.want(http.StatusBadRequest, "malformed-json", "POST", b.path("complete"), "nonsense", nil)
	mina.want(http.StatusRequestEntityTooLarge, "too-large", "POST", b.path("complete"), strings.Repeat("x", 2<<20), nil)
	mina.want(http.StatusUnprocessableEntity, "invalid-parts", "POST", b.path("complete"), map[string]any{"parts": []sent{{1, `"00000000000000000000000000000000"`}}}, nil)
	mina.send(mina.link(b, 2), wav(1<<20))
	second := mina.send(mina.link(b, 2), wav(1<<20))
	mina.want(http.StatusUnprocessableEntity, "part-too-small", "POST", b.path("complete"), map[string]any{"parts": []sent{{1, etag}, {2, second}}}, nil)
	full := mina.send(mina.link(b, 3), wav(5<<20))
	mina.want(http.StatusUnprocessableEntity, "invalid-parts", "POST", b.path("complete"), map[string]any{"parts": []sent{{3, full}, {4, full}}}, nil) // 4 is missing
	mina.want(http.StatusBadRequest, "malformed-request", "POST", "/s3/multipart", nil, nil)                                                           // the gateway describes it
	testkit.Await[event.Stored](env.Kit, env.bus, mina.complete(b, []sent{{1, etag}}))                                                                 // after all of this
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
		b := mina.begin("")
		parts := mina.sendAll(b, c.body)
		if len(c.body) == 0 {
			parts = []sent{{1, mina.send(mina.link(b, 1), nil)}}
		}
		mina.want(c.status, code, "POST", b.path("complete"), map[string]any{"parts": parts}, nil)
		mina.want(http.StatusNotFound, "upload-not-found", "POST", b.path("complete"), map[string]any{"parts": parts}, nil)
	}
	env.checkKeys()
	env.checkNothingLeft()

	// What only the whole recording shows fails its job.
	b := mina.begin(sumOf([]byte("another")))
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
	b := mina.begin("")
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
	first := all[0].begin("")
	all[0].begin("")
	header := described(t, uploadrequest.Description{TokenID: 7})
	if status, code := all[0].call("POST", "/s3/multipart", nil, nil, header); status != http.StatusTooManyRequests || code != "too-many-uploads" {
		t.Errorf("the third is answered with %d %s", status, code)
	}
	all[1].begin("") // another's
	all[0].want(http.StatusOK, "", "DELETE", first.path(""), nil, nil)
	all[0].begin("")
}

// formOf is the answer to a request for a form.
type formOf struct {
	Method, URL string
	Fields      map[string]string
	Expires     int    // seconds
	JobID       string `json:"job_id"`
}

// sendForm sends a file to S3 with a form, as a browser does.
func (c caller) sendForm(f formOf, file []byte) int {
	c.env.t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for name, value := range f.Fields {
		must(c.env.t, w.WriteField(name, value))
	}
	part, err := w.CreateFormFile("file", "a.wav")
	must(c.env.t, err)
	_, err = part.Write(file)
	must(c.env.t, err)
	must(c.env.t, w.Close())
	req, err := http.NewRequestWithContext(c.env.Context(), f.Method, f.URL, &body)
	must(c.env.t, err)
	req.Header.Set("Content-Type", w.FormDataContentType())
	resp, err := http.DefaultClient.Do(req)
	must(c.env.t, err)
	defer resp.Body.Close()
	answer, _ := io.ReadAll(resp.Body)
	if resp.StatusCode >= 300 {
		c.env.t.Logf("form: %s %s", resp.Status, answer)
	}
	return resp.StatusCode
}

func (c caller) form() formOf {
	c.env.t.Helper()
	var f formOf
	if status, code := c.call("GET", "/s3/params", nil, &f, described(c.env.t, uploadrequest.Description{TokenID: 7, FileName: "긴 녹음.wav"})); status != http.StatusOK {
		c.env.t.Fatalf("form: %d %s", status, code)
	}
	return f
}

// checkExpiry checks that S3 takes a form for as long as the answer says, and no longer.
func checkExpiry(t *testing.T, f formOf) {
	t.Helper()
	text, err := base64.StdEncoding.DecodeString(f.Fields["policy"])
	must(t, err)
	var policy struct{ Expiration time.Time }
	must(t, json.Unmarshal(text, &policy))
	if valid := time.Until(policy.Expiration); f.Expires != 3600 || valid > time.Hour || valid < 50*time.Minute {
		t.Errorf("S3 takes the form for %v, and the answer says %d s", valid, f.Expires)
	}
}

func TestAFormBecomesAJobWhenItsFileArrives(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(map[string]string{"MAX_DIRECT_UPLOAD_BYTES": "6000000"}, "mina")[0]
	f, large, text, never := mina.form(), mina.form(), mina.form(), mina.form()
	checkExpiry(t, f)
	recording := wav(1 << 20)
	if status := mina.sendForm(f, recording); status != http.StatusCreated {
		t.Fatalf("S3 answers %d", status)
	}
	if status := mina.sendForm(large, wav(6_000_001)); status < 400 || status >= 500 {
		t.Errorf("S3 answers a file that is too large with %d", status)
	}
	if status := mina.sendForm(text, []byte("no sound")); status != http.StatusCreated {
		t.Fatalf("S3 answers %d", status)
	}
	if stored := testkit.Await[event.Stored](env.Kit, env.bus, f.JobID); stored.SHA256 != sumOf(recording) || stored.Size != 1<<20 {
		t.Errorf("stored is %+v", stored)
	}
	if failed := testkit.Await[event.Failed](env.Kit, env.bus, text.JobID); failed.Code != "unsupported-audio" {
		t.Errorf("failed with %+v", failed)
	}
	for _, job := range []string{large.JobID, never.JobID} {
		if names := env.EventNames(env.bus, job); len(names) > 0 {
			t.Errorf("a form without a file has the job %v", names)
		}
	}
}

func TestUploadsThatAreNotCompletedAreSwept(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(nil, "mina")[0]
	b := mina.begin("")
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
	b := mina.begin("")
	parts := mina.sendAll(b, wav(6<<20))
	open, size := sweep(env, time.Now().Add(23*time.Hour))
	if open != 1 || size != 6<<20 {
		t.Errorf("%v uploads of %v bytes are counted", open, size)
	}
	testkit.Await[event.Stored](env.Kit, env.bus, mina.complete(b, parts))
}

// sweep sweeps at a time, with the default settings. It returns what the gauges say after that.
func sweep(env *env, at time.Time) (open, size float64) {
	env.t.Helper()
	core := direct.New(direct.Dependencies{
		Records: uploads.New(env.bus), Bucket: objects.New(env.client, env.client, env.bucket), Jobs: env.jobs,
	}, direct.Options{MaxBytes: 1 << 30, Expiry: 24 * time.Hour})
	sweeper := direct.NewSweeper(core, time.Hour, env.Log())
	if _, err := sweeper.Sweep(env.Context(), at); err != nil {
		env.t.Fatal(err)
	}
	return sweeper.Open(), sweeper.Bytes()
}

package app_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"sori.internal/shared/event"
	"sori.internal/shared/principal"
	"sori.internal/shared/uploadrequest"
)

// caller sends requests to an uploader as the gateway does, for one owner.
type caller struct {
	env   *env
	base  string
	owner string
}

// begun is the decoded answer to a request that begins an upload.
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
	c.sign(req)
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

// sign adds the principal of the owner to a request.
func (c caller) sign(req *http.Request) {
	c.env.t.Helper()
	signer := principal.NewSigner(principal.Config{Secret: "test-secret-of-enough-length-0123"})
	signed, err := signer.Sign(principal.Principal{Owner: c.owner, Scopes: principal.UserScopes()}, time.Now())
	must(c.env.t, err)
	req.Header.Set(principal.Header, signed)
}

// want sends a request, and checks the status of the answer and the code of its problem document. An
// empty code means that the answer must not be a problem document.
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
func (c caller) begin(d uploadrequest.Description) begun {
	c.env.t.Helper()
	var b begun
	d.TokenID, d.TextGridURL, d.FileName = 7, "s3://ref/7.TextGrid", "긴 녹음.wav"
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

// link requests the presigned URL of a part.
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

// send puts a part to a presigned URL and returns its ETag.
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

// sent is the number and the ETag of a part that S3 has.
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

// checkNothingLeft checks that there are no records of uploads and no unfinished multipart uploads
// in S3.
func (env *env) checkNothingLeft() {
	env.t.Helper()
	if left := env.Messages(event.Uploads()); len(left) > 0 {
		env.t.Errorf("left of uploads: %s", left[0].Data)
	}
	for u := range env.client.ListIncompleteUploads(env.Context(), env.bucket, "", true) {
		env.t.Errorf("left in S3: %+v", u)
	}
}

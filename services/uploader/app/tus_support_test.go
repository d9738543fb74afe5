package app_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sori.internal/services/uploader/internal/direct"
	"sori.internal/services/uploader/internal/objects"
	"sori.internal/services/uploader/internal/resumable"
	"sori.internal/services/uploader/internal/uploads"
	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
	"sori.internal/shared/uploadrequest"
)

// reply is the answer to a request for a resumable upload.
type reply struct {
	status int
	code   string // member code of a problem document
	limit  int    // member max_bytes of a problem document
	header http.Header
}

// fields are header fields of a request.
type fields map[string]string

// tus sends a request of tus 1.0 to an uploader as the gateway does, for one owner.
func (c caller) tus(method, path string, header fields, body io.Reader) reply {
	c.env.t.Helper()
	if header["Upload-Draft-Interop-Version"] == "" {
		header = maps.Clone(header)
		if header == nil {
			header = fields{}
		}
		if header["Tus-Resumable"] == "" {
			header["Tus-Resumable"] = "1.0.0"
		}
	}
	got, err := c.try(method, path, header, body)
	must(c.env.t, err)
	return got
}

// try sends a request, and returns an error if the connection breaks.
func (c caller) try(method, path string, header fields, body io.Reader) (reply, error) {
	req, err := http.NewRequestWithContext(c.env.Context(), method, c.base+path, body)
	must(c.env.t, err)
	for name, value := range header {
		req.Header.Set(name, value)
	}
	c.sign(req)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return reply{}, err
	}
	var problem struct {
		Code     string
		MaxBytes int `json:"max_bytes"`
	}
	if resp.StatusCode >= http.StatusBadRequest && method != http.MethodHead {
		if err := json.Unmarshal(text, &problem); err != nil {
			c.env.t.Errorf("%s %s: %s %q is no problem document", method, path, resp.Status, text)
		}
	}
	return reply{resp.StatusCode, problem.Code, problem.MaxBytes, resp.Header}, nil
}

// create begins a resumable upload and returns its path.
func (c caller) create(length int, header fields) string {
	c.env.t.Helper()
	all := fields{"Upload-Length": strconv.Itoa(length), uploadrequest.Header: about(c.env.t, ""), "Upload-Metadata": "filename " + base64.StdEncoding.EncodeToString([]byte("긴 녹음.wav"))}
	maps.Copy(all, header)
	if all["Upload-Defer-Length"] != "" {
		delete(all, "Upload-Length")
	}
	got := c.tus("POST", "/uploads/", all, nil)
	expires, err := http.ParseTime(got.header.Get("Upload-Expires"))
	if at := got.header.Get("Location"); got.status != http.StatusCreated || !strings.HasPrefix(at, "/uploads/") || err != nil || time.Until(expires) < 23*time.Hour {
		c.env.t.Fatalf("create: %+v", got)
	}
	return got.header.Get("Location")
}

func about(t *testing.T, sha256 string) string {
	t.Helper()
	return described(t, uploadrequest.Description{TokenID: 7, TextGridURL: "s3://ref/7.TextGrid", FileName: "긴 녹음.wav", SHA256: sha256}).Get(uploadrequest.Header)
}

// patch appends bytes to an upload, from an offset.
func (c caller) patch(path string, offset int, body []byte, header fields) reply {
	c.env.t.Helper()
	all := fields{"Upload-Offset": strconv.Itoa(offset), "Content-Type": "application/offset+octet-stream"}
	maps.Copy(all, header)
	return c.tus("PATCH", path, all, bytes.NewReader(body))
}

// offset requests the offset of an upload.
func (c caller) offset(path string) int {
	c.env.t.Helper()
	got := c.tus("HEAD", path, nil, nil)
	n, err := strconv.Atoi(got.header.Get("Upload-Offset"))
	if err != nil || got.status != http.StatusOK {
		c.env.t.Fatalf("HEAD: %+v", got)
	}
	return n
}

// core returns the core of a further replica, on which a test can call single operations.
func (env *env) core() *resumable.Core {
	bucket, records := objects.New(env.client, env.client, env.bucket), uploads.New(env.bus)
	d := direct.New(direct.Dependencies{Records: records, Bucket: bucket, Jobs: env.jobs}, direct.Options{MaxBytes: 1 << 30, Expiry: 24 * time.Hour})
	return resumable.New(resumable.Dependencies{Direct: d, Records: records, Bucket: bucket, Jobs: env.jobs}, resumable.Limits{Writers: 1})
}

func jobAt(path string) string { return strings.TrimPrefix(path, "/uploads/") }

// checkBecame checks that an upload has become one job with the given recording, and that no
// records, parts and other objects are left.
func (env *env) checkBecame(path string, recording []byte) event.Received {
	env.t.Helper()
	job, stored := jobAt(path), env.checkArrived(path, recording)
	if names := env.EventNames(env.bus, job); !slices.Equal(names, []event.Name{event.NameReceived, event.NameStored}) {
		env.t.Errorf("the log is %v", names)
	}
	env.checkKeys(stored.Key)
	env.checkNothingLeft()
	return testkit.Await[event.Received](env.Kit, env.bus, job)
}

// checkArrived checks that an upload has become a job with the given recording.
func (env *env) checkArrived(path string, recording []byte) event.Stored {
	env.t.Helper()
	stored := testkit.Await[event.Stored](env.Kit, env.bus, jobAt(path))
	if got, _ := env.object(stored.Key); !bytes.Equal(got, recording) || stored.SHA256 != sumOf(recording) {
		env.t.Errorf("the object of %d bytes is not what was sent; stored is %+v", len(got), stored)
	}
	return stored
}

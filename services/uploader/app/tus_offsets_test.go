package app_test

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"hash/crc32"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"sori.internal/shared/uploadrequest"
)

func TestBytesCountOnlyAtTheOffset(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	all := env.callers(nil, "mina", "jun")
	mina, jun := all[0], all[1]
	recording := wav(6 << 20)
	at := mina.create(len(recording), nil)
	mina.patch(at, 0, recording[:1000], nil)
	for name, c := range map[string]struct {
		got    reply
		status int
		code   string
	}{
		"an offset before":     {mina.patch(at, 0, recording, nil), 409, "offset-mismatch"},
		"an offset after":      {mina.patch(at, 1001, recording[1001:], nil), 409, "offset-mismatch"},
		"no offset":            {mina.patch(at, 1000, nil, fields{"Upload-Offset": ""}), 400, "malformed-request"},
		"another media type":   {mina.patch(at, 1000, nil, fields{"Content-Type": "audio/wav"}), 415, "wrong-content-type"},
		"compressed bytes":     {mina.patch(at, 1000, recording[1000:], fields{"Content-Encoding": "gzip"}), 415, "unsupported-encoding"},
		"no method":            {mina.tus("POST", at, fields{"X-HTTP-Method-Override": "GET"}, nil), 405, "method-not-allowed"},
		"too much":             {mina.patch(at, 1000, recording, nil), 413, "too-large"},
		"another version":      {mina.patch(at, 1000, nil, fields{"Tus-Resumable": "0.2.2"}), 412, "unsupported-tus-version"},
		"an unknown algorithm": {mina.patch(at, 1000, nil, fields{"Upload-Checksum": "md5 AAAA"}), 400, "malformed-request"},
		"half a checksum":      {mina.patch(at, 1000, nil, fields{"Upload-Checksum": "sha1 AAAA"}), 400, "malformed-request"},
		"another's upload":     {jun.patch(at, 1000, recording[1000:], nil), 404, "upload-not-found"},
		"an id of nobody":      {mina.patch("/uploads/nonsense", 0, nil, nil), 404, "upload-not-found"},
		"another's removal":    {jun.tus("DELETE", at, nil, nil), 404, "upload-not-found"},
		"too large":            {mina.tus("POST", "/uploads/", fields{"Upload-Length": "5368709121", uploadrequest.Header: about(t, "")}, nil), 413, "too-large"},
		"no length":            {mina.tus("POST", "/uploads/", fields{uploadrequest.Header: about(t, "")}, nil), 400, "malformed-request"},
		"the name of a file":   {mina.tus("POST", "/uploads/lesson.wav", nil, nil), 405, "method-not-allowed"},
		"no description":       {mina.tus("POST", "/uploads/", fields{"Upload-Length": "1"}, nil), 400, "malformed-request"},
		"long metadata":        {mina.tus("POST", "/uploads/", fields{"Upload-Length": "1", "Upload-Metadata": "a " + strings.Repeat("A", 5000), uploadrequest.Header: about(t, "")}, nil), 422, "validation-failed"},
	} {
		if c.got.status != c.status || c.got.code != c.code {
			t.Errorf("%s: %d %s, want %d %s", name, c.got.status, c.got.code, c.status, c.code)
		}
		if limit := map[string]int{"too much": len(recording), "too large": 5 << 30}[name]; c.got.limit != limit {
			t.Errorf("%s: the limit is %d bytes, want %d", name, c.got.limit, limit)
		}
		want := map[string]fields{
			"an offset before": {"Upload-Offset": "1000"}, "an offset after": {"Upload-Offset": "1000"}, // by the draft
			"another version": {"Tus-Version": "1.0.0"}, "no method": {"Allow": "HEAD, PATCH, DELETE"},
		}[name]
		for field, value := range want {
			if got := c.got.header.Get(field); got != value {
				t.Errorf("%s: %s is %q, want %q", name, field, got, value)
			}
		}
	}
	if got := mina.tus("POST", at, fields{"X-HTTP-Method-Override": "HEAD"}, nil); got.status != http.StatusOK || got.header.Get("Upload-Offset") != "1000" {
		t.Errorf("HEAD by POST: %+v", got)
	}
	if got := jun.tus("HEAD", at, nil, nil); got.status != http.StatusNotFound {
		t.Errorf("another's HEAD: %+v", got)
	}
	if got := mina.offset(at); got != 1000 {
		t.Errorf("the offset is %d", got)
	}
	mina.patch(at, 1000, recording[1000:], fields{"Content-Type": "Application/Offset+Octet-Stream; charset=utf-8"})
	env.checkBecame(at, recording)
	if got := mina.patch(at, len(recording), recording[:1], nil); got.status != http.StatusRequestEntityTooLarge || got.limit != len(recording) {
		t.Errorf("bytes after the end: %+v", got)
	}
	if got := jun.tus("HEAD", at, nil, nil); got.status != http.StatusNotFound {
		t.Errorf("another's HEAD of a job: %+v", got)
	}
}

func TestLengthsThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	const most = 10_000
	mina := env.callers(map[string]string{"MAX_DIRECT_UPLOAD_BYTES": strconv.Itoa(most)}, "mina")[0]
	recording := wav(most + 1)
	draft := func(more fields) fields {
		all := fields{"Upload-Draft-Interop-Version": "6", "Upload-Complete": "?0", "Content-Type": "application/partial-upload", uploadrequest.Header: about(t, "")}
		maps.Copy(all, more)
		return all
	}
	for name, c := range map[string]struct {
		header fields
		body   io.Reader
		status int
	}{
		"negative":         {fields{"Upload-Length": "-1"}, nil, 400},
		"too large":        {fields{"Upload-Length": "10001"}, nil, 413},
		"unknown":          {nil, bytes.NewReader(recording), 413},
		"ends before":      {fields{"Upload-Length": "10", "Upload-Complete": "?1"}, io.MultiReader(bytes.NewReader(recording[:9])), 400},
		"ends before, too": {fields{"Upload-Length": "10", "Upload-Complete": "?1"}, bytes.NewReader(recording[:9]), 400},
	} {
		if got := mina.tus("POST", "/uploads/", draft(c.header), c.body); got.status != c.status {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for name, got := range map[string]reply{
		"begun without its length": mina.patch(mina.create(0, fields{"Upload-Defer-Length": "1"}), 0, nil, fields{"Upload-Length": "10001"}),
		"in chunks":                mina.tus("PATCH", mina.create(0, fields{"Upload-Defer-Length": "1"}), fields{"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}, io.MultiReader(bytes.NewReader(recording))),
		"in chunks, by the draft":  mina.tus("POST", "/uploads/", draft(fields{"Upload-Complete": "?1"}), io.MultiReader(bytes.NewReader(recording))),
	} {
		if got.status != http.StatusRequestEntityTooLarge || got.limit != most {
			t.Errorf("too large, %s: %+v", name, got)
		}
	}
	deferred := mina.create(0, fields{"Upload-Defer-Length": "1"})
	mina.patch(deferred, 0, recording[:most], nil)
	if got := mina.patch(deferred, most, recording[most:], nil); got.status != http.StatusRequestEntityTooLarge || got.limit != most || mina.offset(deferred) != most {
		t.Errorf("more than the limit: %+v", got)
	}
	at := mina.tus("POST", "/uploads/", draft(fields{"Upload-Length": "2000"}), bytes.NewReader(recording[:1000])).header.Get("Location")
	if got := mina.tus("PATCH", at, draft(fields{"Upload-Offset": "1000", "Upload-Complete": "?1"}), bytes.NewReader(recording[:999])); got.status != http.StatusBadRequest || mina.offset(at) != 1000 {
		t.Errorf("ends before its length: %+v", got)
	}
	if got := mina.tus("PATCH", at, draft(fields{"Upload-Offset": "1000", "Upload-Complete": "?1", "Upload-Length": "2000"}), bytes.NewReader(recording[:1000])); got.status >= 300 || got.header.Get("Sori-Job") == "" {
		t.Errorf("with the length again: %+v", got)
	}
}

// In chunks, a request does not state its size, so the server finds out only at the end of the
// request that there are too many bytes. The client is told that the upload is refused, so no job
// may begin.
func TestARequestWithMoreBytesThanTheUploadLacksDoesNotCompleteIt(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(nil, "mina")[0]
	for name, c := range map[string]struct{ length, before, excess int }{
		"less than a part":  {1000, 0, 1},
		"after other bytes": {1000, 10, 1},
		"exactly a part":    {5 << 20, 0, 1},
		"several parts":     {12 << 20, 1000, 100_000},
	} {
		recording := wav(c.length)
		at := mina.create(len(recording), nil)
		mina.patch(at, 0, recording[:c.before], nil)
		body := io.MultiReader(bytes.NewReader(recording[c.before:]), bytes.NewReader(make([]byte, c.excess)))
		header := fields{"Upload-Offset": strconv.Itoa(c.before), "Content-Type": "application/offset+octet-stream"}
		got := mina.tus("PATCH", at, header, body)
		if got.status != http.StatusRequestEntityTooLarge || got.limit != len(recording) || got.header.Get("Sori-Job") != "" {
			t.Errorf("%s: %+v", name, got)
		}
		from := mina.offset(at)
		if from < c.before || from >= len(recording) {
			t.Errorf("%s: the offset is %d", name, from)
			continue
		}
		if names := env.EventNames(env.bus, jobAt(at)); len(names) > 0 {
			t.Errorf("%s: the log is %v", name, names)
		}
		if got := mina.tus("PATCH", at, fields{"Upload-Offset": strconv.Itoa(from), "Content-Type": "application/offset+octet-stream"},
			io.MultiReader(bytes.NewReader(recording[from:]))); got.status != http.StatusNoContent {
			t.Errorf("%s: continued: %+v", name, got)
		}
		env.checkArrived(at, recording)
	}
	env.checkNothingLeft()
}

// While the length of an upload is not known, its part size is that of the largest upload: about 11
// MiB for 100 GiB. The upload must continue when its length is declared, and its part size becomes
// smaller.
func TestAnUploadWhosePartsBecomeSmallerWhenItsLengthIsDeclaredContinues(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(map[string]string{"MAX_DIRECT_UPLOAD_BYTES": strconv.Itoa(100 << 30)}, "mina")[0]
	recording := wav(15 << 20)
	const first = 8 << 20
	at := mina.create(0, fields{"Upload-Defer-Length": "1"})
	if got := mina.patch(at, 0, recording[:first], nil); got.status != http.StatusNoContent {
		t.Fatalf("without a length: %+v", got)
	}
	if got := mina.patch(at, first, recording[first:], fields{"Upload-Length": strconv.Itoa(len(recording))}); got.status != http.StatusNoContent {
		t.Fatalf("with the length: %+v", got)
	}
	env.checkBecame(at, recording)
}

func TestOfBytesWithAWrongChecksumNoneCount(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(nil, "mina")[0]
	recording := wav(12 << 20)
	at := mina.create(len(recording), nil)
	sums := func(b []byte) []string {
		one, crc := sha1.Sum(b), crc32.ChecksumIEEE(b)
		two := sha256.Sum256(b)
		return []string{
			"sha1 " + base64.StdEncoding.EncodeToString(one[:]), "sha256 " + base64.StdEncoding.EncodeToString(two[:]),
			"crc32 " + base64.StdEncoding.EncodeToString([]byte{byte(crc >> 24), byte(crc >> 16), byte(crc >> 8), byte(crc)}),
		}
	}
	offset := 0
	for i, end := range []int{1000, 1000 + 5<<20, len(recording)} {
		piece := recording[offset:end]
		damaged := bytes.Clone(piece)
		damaged[len(damaged)-1]++
		if got := mina.patch(at, offset, damaged, fields{"Upload-Checksum": sums(piece)[i]}); got.status != 460 || got.code != "checksum-mismatch" || mina.offset(at) != offset {
			t.Fatalf("damaged: %+v, offset %d", got, mina.offset(at))
		}
		if got := mina.patch(at, offset, piece, fields{"Upload-Checksum": sums(piece)[i]}); got.status != http.StatusNoContent {
			t.Fatalf("intact: %+v", got)
		}
		offset = end
	}
	env.checkBecame(at, recording)
}

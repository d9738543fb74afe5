package app_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
	"sori.internal/shared/uploadrequest"
)

func TestARecordingSentInPiecesBecomesAJob(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(nil, "mina")[0]
	recording := wav(13<<20 + 17)
	at := mina.create(len(recording), fields{uploadrequest.Header: about(t, sumOf(recording))})
	head := mina.tus("HEAD", at, nil, nil)
	if head.header.Get("Upload-Length") != strconv.Itoa(len(recording)) || head.header.Get("Upload-Metadata") == "" || head.header.Get("Cache-Control") != "no-store" {
		t.Errorf("HEAD: %+v", head)
	}
	var last reply
	for sent, n := 0, 0; sent < len(recording); n++ {
		size := []int{1, 100_003, 5 << 20, 0, 6<<20 + 1, 7}[n%6] // requests that end with a tail, with a part, and with both
		size = min(size, len(recording)-sent)
		last = mina.patch(at, sent, recording[sent:sent+size], nil)
		sent += size
		if last.status != http.StatusNoContent || last.header.Get("Upload-Offset") != strconv.Itoa(sent) || mina.offset(at) != sent {
			t.Fatalf("after %d bytes: %+v", sent, last)
		}
	}
	if last.header.Get("Sori-Job") != jobAt(at) || !strings.Contains(last.header.Get("Link"), "</tokens/analysis-result/"+jobAt(at)+">") {
		t.Errorf("the last answer has %v", last.header)
	}
	received := env.checkBecame(at, recording)
	if received.Owner != "mina" || received.TokenID != 7 || received.FileName != "긴 녹음.wav" || received.TextGridURL != "s3://ref/7.TextGrid" ||
		received.MediaType != "audio/wav" || received.Size != int64(len(recording)) || received.SHA256 != sumOf(recording) {
		t.Errorf("received is %+v", received)
	}
	// A client that has lost the last answer asks for the offset again: the upload must be
	// complete.
	again := mina.tus("HEAD", at, nil, nil)
	if again.header.Get("Upload-Offset") != strconv.Itoa(len(recording)) || again.header.Get("Upload-Length") != strconv.Itoa(len(recording)) || again.header.Get("Sori-Job") != jobAt(at) {
		t.Errorf("HEAD after the end: %+v", again)
	}
	if got := mina.patch(at, len(recording), nil, nil); got.status != http.StatusNoContent {
		t.Errorf("an empty PATCH after the end: %+v", got)
	}
	if got := mina.tus("DELETE", at, nil, nil); got.status != http.StatusNotFound || got.code != "upload-not-found" || got.header.Get("Sori-Job") != jobAt(at) {
		t.Errorf("DELETE after the end: %+v", got)
	}
}

func TestARecordingSentWithItsCreationBecomesAJob(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(nil, "mina")[0]
	recording := wav(6 << 20)
	got := mina.tus("POST", "/uploads", fields{
		"Upload-Length": strconv.Itoa(len(recording)), "Content-Type": "application/offset+octet-stream", uploadrequest.Header: about(t, ""),
	}, bytes.NewReader(recording))
	if got.status != http.StatusCreated || got.header.Get("Upload-Offset") != strconv.Itoa(len(recording)) {
		t.Fatalf("create: %+v", got)
	}
	env.checkBecame(got.header.Get("Location"), recording)
}

func TestTheDraftOfTheIETFIsServed(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(nil, "mina")[0]
	recording := wav(6<<20 + 5)
	draft := fields{"Upload-Draft-Interop-Version": "6"}
	with := func(more fields) fields { all := maps.Clone(draft); maps.Copy(all, more); return all }
	got := mina.tus("POST", "/uploads/", with(fields{"Upload-Complete": "?0", uploadrequest.Header: about(t, "")}), bytes.NewReader(recording[:100]))
	at := got.header.Get("Location")
	if got.status != http.StatusCreated || at == "" {
		t.Fatalf("create: %+v", got)
	}
	if head := mina.tus("HEAD", at, draft, nil); head.status != http.StatusNoContent || head.header.Get("Upload-Offset") != "100" || head.header.Get("Upload-Complete") != "?0" {
		t.Errorf("HEAD: %+v", head)
	}
	got = mina.tus("PATCH", at, with(fields{"Upload-Offset": "100", "Upload-Complete": "?1", "Content-Type": "application/partial-upload"}), bytes.NewReader(recording[100:]))
	if got.status >= 300 || got.header.Get("Sori-Job") != jobAt(at) {
		t.Fatalf("PATCH: %+v", got)
	}
	env.checkBecame(at, recording)
	if head := mina.tus("HEAD", at, draft, nil); head.header.Get("Upload-Complete") != "?1" {
		t.Errorf("HEAD after the end: %+v", head)
	}
}

func TestAnUploadGoesOnAfterS3WasAway(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	proxy := env.Proxy(env.Settings(nil)["S3_ENDPOINT"])
	mina := env.callers(map[string]string{"S3_ENDPOINT": proxy.URL, "S3_STALL_TIMEOUT": "1s"}, "mina")[0]
	recording := wav(11 << 20)
	at := mina.create(len(recording), nil)
	body, feed := io.Pipe()
	answered := make(chan reply, 1)
	go func() {
		answered <- mina.tus("PATCH", at, fields{"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}, body)
	}()
	_, err := feed.Write(recording[:6<<20])
	must(t, err)
	testkit.Eventually(t, func() error { // wait until the first part is committed
		if n := mina.offset(at); n != 5<<20 {
			return fmt.Errorf("the offset is %d", n)
		}
		return nil
	})
	held := proxy.Hold(1 << 20)
	go func() { _, _ = feed.Write(recording[6<<20:]); _ = feed.Close() }() // the uploader may answer before it has read all bytes
	<-held
	proxy.Cut()
	if got := <-answered; got.status != http.StatusServiceUnavailable {
		t.Errorf("while S3 is away: %+v", got)
	}
	from := mina.offset(at)
	if from != 5<<20 {
		t.Errorf("the offset is %d", from)
	}
	proxy.Restore()
	if got := mina.patch(at, from, recording[from:], nil); got.status != http.StatusNoContent {
		t.Fatalf("continued: %+v", got)
	}
	env.checkBecame(at, recording)
}

func TestAnUploadOfUnknownLengthEndsWhenItIsDeclared(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(nil, "mina")[0]
	recording := wav(1 << 20)
	at := mina.create(0, fields{"Upload-Defer-Length": "1"})
	mina.patch(at, 0, recording[:1000], nil)
	if head := mina.tus("HEAD", at, nil, nil); head.header.Get("Upload-Defer-Length") != "1" || head.header.Get("Upload-Offset") != "1000" {
		t.Errorf("HEAD: %+v", head)
	}
	mina.patch(at, 1000, recording[1000:], nil)
	if got := mina.patch(at, len(recording), nil, fields{"Upload-Length": strconv.Itoa(len(recording))}); got.status != http.StatusNoContent {
		t.Fatalf("declared: %+v", got)
	}
	env.checkBecame(at, recording)
}

func TestPartialUploadsAreJoined(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	all := env.callers(nil, "mina", "jun")
	mina, jun := all[0], all[1]
	for name, cuts := range map[string][]int{"copied by S3": {5 << 20, 11 << 20}, "small ones": {1000, 1000, 7 << 20}} {
		recording := wav(12<<20 + 1)
		var parts []string
		for i, from := 0, 0; i <= len(cuts); i++ {
			to := append(slices.Clone(cuts), len(recording))[i]
			at := mina.create(to-from, fields{"Upload-Concat": "partial", uploadrequest.Header: ""})
			if from < to {
				if got := mina.patch(at, 0, recording[from:to], nil); got.status != http.StatusNoContent || got.header.Get("Sori-Job") != "" {
					t.Fatalf("%s: partial: %+v", name, got)
				}
			}
			parts, from = append(parts, "https://sori.example/api"+at), to
		}
		final := fields{"Upload-Concat": "final;" + strings.Join(parts, " "), uploadrequest.Header: about(t, "")}
		if got := jun.tus("POST", "/uploads/", final, nil); got.status != http.StatusNotFound {
			t.Errorf("%s: joined by another: %+v", name, got)
		}
		unfinished := mina.create(10, fields{"Upload-Concat": "partial", uploadrequest.Header: ""})
		if got := mina.tus("POST", "/uploads/", fields{"Upload-Concat": "final;" + unfinished, uploadrequest.Header: about(t, "")}, nil); got.code != "upload-not-finished" {
			t.Errorf("%s: an unfinished one is joined: %+v", name, got)
		}
		mina.tus("DELETE", unfinished, nil, nil)
		got := mina.tus("POST", "/uploads/", final, nil)
		if got.status != http.StatusCreated || got.header.Get("Sori-Job") == "" {
			t.Fatalf("%s: %+v", name, got)
		}
		at := got.header.Get("Location")
		for _, part := range parts {
			mina.tus("DELETE", strings.TrimPrefix(part, "https://sori.example/api"), nil, nil)
		}
		env.checkBecame(at, recording)
		for _, key := range env.keys() {
			must(t, env.client.RemoveObject(env.Context(), env.bucket, key, minio.RemoveObjectOptions{}))
		}
	}
}

func TestOnlyPartialUploadsAreConcatenated(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(nil, "mina")[0]
	recording := wav(1000)
	unfinished, complete := mina.create(len(recording), nil), mina.create(len(recording), nil)
	mina.patch(complete, 0, recording, nil)
	partial := mina.create(len(recording), fields{"Upload-Concat": "partial", uploadrequest.Header: ""})
	mina.patch(partial, 0, recording, nil)
	for _, at := range []string{unfinished, complete} {
		final := fields{"Upload-Concat": "final;" + partial + " " + at, uploadrequest.Header: about(t, "")}
		if got := mina.tus("POST", "/uploads/", final, nil); got.status != http.StatusBadRequest || got.code != "malformed-request" {
			t.Errorf("a partial upload and %s: %+v", at, got)
		}
	}
	if stored := env.Messages(event.Uploads()); len(stored) != 2 { // those of the unfinished and of the partial upload
		t.Errorf("%d uploads are recorded", len(stored))
	}
}

func TestWhatIsNoRecordingIsRefusedWhenItIsComplete(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(nil, "mina")[0]
	text := []byte("<html>no sound</html>")
	at := mina.create(len(text), nil)
	if got := mina.patch(at, 0, text, nil); got.status != http.StatusUnsupportedMediaType || got.code != "unsupported-audio" {
		t.Errorf("no audio: %+v", got)
	}
	if got := mina.tus("HEAD", at, nil, nil); got.status != http.StatusNotFound {
		t.Errorf("HEAD of what was refused: %+v", got)
	}
	if got := mina.tus("POST", "/uploads/", fields{"Upload-Length": "0", uploadrequest.Header: about(t, "")}, nil); got.status != http.StatusUnprocessableEntity || got.code != "empty-file" {
		t.Errorf("an empty file: %+v", got)
	}
	recording := wav(1000)
	at = mina.create(len(recording), fields{uploadrequest.Header: about(t, hex.EncodeToString(make([]byte, 32)))})
	if got := mina.patch(at, 0, recording, nil); got.status != http.StatusUnprocessableEntity || got.code != "digest-mismatch" {
		t.Errorf("another recording: %+v", got)
	}
	env.checkKeys()
	env.checkNothingLeft()
}

func TestTerminatedAndExpiredUploadsLeaveNothing(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(nil, "mina")[0]
	recording := wav(6 << 20)
	terminated, expired, partial := mina.create(len(recording), nil), mina.create(len(recording), nil), mina.create(1000, fields{"Upload-Concat": "partial"})
	for _, at := range []string{terminated, expired} {
		mina.patch(at, 0, recording[:5<<20+1000], nil) // leaves a part of 5 MiB and a tail
	}
	mina.patch(partial, 0, recording[:1000], nil)
	if got := mina.tus("DELETE", terminated, nil, nil); got.status != http.StatusNoContent {
		t.Errorf("DELETE: %+v", got)
	}
	if got := mina.tus("DELETE", terminated, nil, nil); got.status != http.StatusNotFound || got.header.Get("Sori-Job") != "" { // the first answer was lost
		t.Errorf("DELETE again: %+v", got)
	}
	if open, size := sweep(env, time.Now().Add(23*time.Hour)); open != 1 || size != 5<<20 {
		t.Errorf("%v uploads of %v bytes are counted", open, size)
	}
	sweep(env, time.Now().Add(25*time.Hour))
	for _, at := range []string{terminated, expired, partial} {
		if got := mina.patch(at, 0, recording, nil); got.status != http.StatusNotFound || got.code != "upload-not-found" {
			t.Errorf("PATCH: %+v", got)
		}
	}
	env.checkKeys()
	env.checkNothingLeft()
}

func TestTheServerTellsWhatItServesOfTus(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(nil, "mina")[0]
	got := mina.tus("OPTIONS", "/uploads/", nil, nil)
	for name, want := range (fields{
		"Tus-Version": "1.0.0", "Tus-Max-Size": "5368709120", "Tus-Checksum-Algorithm": "sha1,sha256,crc32",
		"Tus-Extension": "creation,creation-with-upload,termination,concatenation,creation-defer-length,checksum,expiration",
	}) {
		if got.header.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, got.header.Get(name), want)
		}
	}
}

func TestAnUploadHasOneRecord(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(nil, "mina")[0]
	at := mina.create(5000, nil)
	for n := range 3 {
		if got := mina.patch(at, 1000*n, make([]byte, 1000), nil); got.status != http.StatusNoContent {
			t.Fatalf("%+v", got)
		}
	}
	if stored := env.Messages(event.Uploads()); len(stored) != 1 {
		t.Errorf("%d records of one upload", len(stored))
	}
}

func TestNoHeaderThatIsNotUsedRefusesAnUpload(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(nil, "mina")[0]
	recording := wav(1000)
	for name, header := range map[string]fields{
		"a media type that cannot be parsed":  {"Content-Type": "audio/x-m4a; name=음성 001.m4a"},
		"a disposition that cannot be parsed": {"Content-Disposition": "attachment; filename=음성 001.m4a"},
	} {
		all := fields{"Upload-Draft-Interop-Version": "6", "Upload-Complete": "?1", uploadrequest.Header: about(t, "")}
		maps.Copy(all, header)
		got := mina.tus("POST", "/uploads/", all, bytes.NewReader(recording))
		if got.status != http.StatusCreated {
			t.Errorf("%s: %+v", name, got)
			continue
		}
		env.checkArrived(got.header.Get("Location"), recording)
	}
}

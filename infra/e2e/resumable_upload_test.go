package e2e_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"testing"
	"time"

	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/shared/testkit"
)

// tus sends a request of tus 1.0, or, with Upload-Draft-Interop-Version, of the IETF's draft.
func tus(t *testing.T, method, link string, header map[string]string, body io.Reader) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, link, body)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	if header["Upload-Draft-Interop-Version"] == "" {
		req.Header.Set("Tus-Resumable", "1.0.0")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		t.Logf("%s %s: %s", method, link, text)
	}
	return resp
}

func TestAResumedUploadIsAnalysed(t *testing.T) {
	t.Parallel()
	recording := bytes.Repeat(loadgen.Tone(220, time.Second), 180) // larger than a part, and than the largest recording in a form
	w := harnesstest.Start(t, harnesstest.Options{Settings: map[string]string{
		"BASE_PATH": "/api", "MAX_UPLOAD_BYTES": "1000000", "MAX_DIRECT_UPLOAD_BYTES": fmt.Sprint(len(recording)), "PRINCIPAL_STAGED_BYTES": "0",
	}})
	host := strings.TrimSuffix(w.Gateway, "/api")
	all := host + "/api/uploads/"
	if resp := tus(t, "OPTIONS", all, nil, nil); resp.Header.Get("Tus-Max-Size") != fmt.Sprint(len(recording)) || !strings.Contains(resp.Header.Get("Tus-Extension"), "checksum") {
		t.Errorf("OPTIONS: %s %v", resp.Status, resp.Header)
	}
	metadata := "token_id " + base64.StdEncoding.EncodeToString(fmt.Append(nil, w.Token)) + ",filename " + base64.StdEncoding.EncodeToString([]byte("수업 녹음.wav"))
	if resp := tus(t, "POST", all, map[string]string{"Upload-Length": "1", "Upload-Metadata": "token_id MA=="}, nil); resp.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("for a token of nobody: %s", resp.Status)
	}
	const cut = 2_000_001
	created := tus(t, "POST", all, map[string]string{
		"Upload-Length": fmt.Sprint(len(recording)), "Upload-Metadata": metadata, "Content-Type": "application/offset+octet-stream",
	}, bytes.NewReader(recording[:cut]))
	at := created.Header.Get("Location")
	if created.StatusCode != http.StatusCreated || !strings.HasPrefix(at, "/api/uploads/") {
		t.Fatalf("create: %s %v", created.Status, created.Header)
	}
	head := tus(t, "HEAD", host+at, nil, nil)
	offset, err := strconv.Atoi(head.Header.Get("Upload-Offset"))
	if err != nil || offset != cut || head.Header.Get("Upload-Length") != fmt.Sprint(len(recording)) {
		t.Fatalf("HEAD: %s %v", head.Status, head.Header)
	}
	done := tus(t, "PATCH", host+at, map[string]string{"Upload-Offset": fmt.Sprint(offset), "Content-Type": "application/offset+octet-stream"}, bytes.NewReader(recording[offset:]))
	if done.StatusCode != http.StatusNoContent || !strings.HasPrefix(done.Header.Get("Link"), "</api/tokens/analysis-result/") {
		t.Fatalf("PATCH: %s %v", done.Status, done.Header)
	}
	draft := tus(t, "POST", fmt.Sprintf("%s?token_id=%d&filename=a.wav", all, w.Token), map[string]string{
		"Upload-Draft-Interop-Version": "6", "Upload-Complete": "?1",
	}, bytes.NewReader(recording))
	if draft.StatusCode != http.StatusCreated {
		t.Fatalf("by the draft: %s %v", draft.Status, draft.Header)
	}
	for _, job := range []string{done.Header.Get("Sori-Job"), draft.Header.Get("Sori-Job")} {
		frames := w.Follow(w.Context(), t, job, "en")
		harnesstest.CheckFrames(t, frames)
		if end := frames[len(frames)-1]; end.Status != "completed" {
			t.Errorf("the job ended as %+v", end)
		}
	}
	if resp := tus(t, "POST", all, map[string]string{"Upload-Length": fmt.Sprint(len(recording) + 1), "Upload-Metadata": metadata}, nil); resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("too large: %s", resp.Status)
	}
}

func TestAClientOfTheDraftLearnsItsUploadWhileItSends(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: map[string]string{"BASE_PATH": "/api"}})
	host, recording := strings.TrimSuffix(w.Gateway, "/api"), loadgen.Tone(220, 3*time.Second)
	begun := make(chan string, 1)
	ctx, leave := context.WithCancel(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(status int, header textproto.MIMEHeader) error {
			if status == 104 {
				begun <- header.Get("Location")
			}
			return nil
		},
	}))
	defer leave()
	body, feed := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("%s/uploads/?token_id=%d", w.Gateway, w.Token), body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Upload-Draft-Interop-Version", "6")
	req.Header.Set("Upload-Complete", "?1")
	broken := make(chan error, 1)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		broken <- err
	}()
	if _, err := feed.Write(recording[:1000]); err != nil {
		t.Fatal(err)
	}
	at := <-begun
	leave()
	_ = feed.CloseWithError(io.ErrUnexpectedEOF)
	if err := <-broken; err == nil || !strings.HasPrefix(at, "/api/uploads/") {
		t.Fatalf("the upload at %q ended with %v", at, err)
	}
	draft := map[string]string{"Upload-Draft-Interop-Version": "6", "Upload-Complete": "?1", "Content-Type": "application/partial-upload"}
	var done *http.Response
	testkit.Eventually(t, func() error { // the broken request may still change the offset
		draft["Upload-Offset"] = tus(t, "HEAD", host+at, map[string]string{"Upload-Draft-Interop-Version": "6"}, nil).Header.Get("Upload-Offset")
		offset, err := strconv.Atoi(draft["Upload-Offset"])
		if err != nil {
			return err
		}
		if done = tus(t, "PATCH", host+at, draft, bytes.NewReader(recording[offset:])); done.StatusCode >= http.StatusMultipleChoices {
			return fmt.Errorf("continued at %d: %s", offset, done.Status)
		}
		return nil
	})
	frames := w.Follow(w.Context(), t, done.Header.Get("Sori-Job"), "en")
	if end := frames[len(frames)-1]; end.Status != "completed" {
		t.Errorf("the job ended as %+v", end)
	}
}

func TestAResumedUploadOutlivesItsUploader(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), crashPatience)
	defer cancel()
	c := found(ctx, t, nil, nil)
	recording := bytes.Repeat(loadgen.Tone(220, time.Second), 180)
	all := c.URL(harness.Gateway) + "/uploads/"
	at := c.URL(harness.Gateway) + tus(t, "POST", all, map[string]string{"Upload-Length": fmt.Sprint(len(recording)), "Upload-Metadata": "token_id MQ=="}, nil).Header.Get("Location")
	body, feed := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, at, body)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"} {
		req.Header.Set(name, value)
	}
	broken := make(chan struct{})
	go func() {
		defer close(broken)
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode < http.StatusBadRequest {
				t.Errorf("the request to an uploader that was killed is answered with %s", resp.Status)
			}
		}
	}()
	const part = 5 << 20
	if _, err := feed.Write(recording[:part+1000]); err != nil {
		t.Fatal(err)
	}
	offset := func() int {
		n, _ := strconv.Atoi(tus(t, "HEAD", at, nil, nil).Header.Get("Upload-Offset"))
		return n
	}
	testkit.Eventually(t, func() error {
		if n := offset(); n != part {
			return fmt.Errorf("the offset is %d", n)
		}
		return nil
	})
	p := c.Process(harness.Uploader, 0)
	p.Kill()
	_ = feed.CloseWithError(io.ErrUnexpectedEOF)
	<-broken
	if err := p.Start(ctx); err != nil {
		t.Fatal(err)
	}
	var done *http.Response
	testkit.Eventually(t, func() error {
		n := offset()
		done = tus(t, "PATCH", at, map[string]string{"Upload-Offset": fmt.Sprint(n), "Content-Type": "application/offset+octet-stream"}, bytes.NewReader(recording[n:]))
		if n < part || done.StatusCode != http.StatusNoContent {
			return fmt.Errorf("continued at %d: %s", n, done.Status)
		}
		return nil
	})
	c.CheckJobs([]string{done.Header.Get("Sori-Job")})
}

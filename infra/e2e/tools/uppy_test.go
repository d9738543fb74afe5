//go:build tools

package tools_test

import (
	"encoding/base64"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/shared/testkit"
)

// uppy is the script of a frontend with Uppy and its plugin AwsS3, with nothing but the address of the API: it uploads
// a recording of a token, and returns the result that Uppy reports.
const uppy = `(async () => {
  const file = %s;
  const u = new Uppy.Uppy({meta: {token_id: %d}, debug: true}).use(Uppy.AwsS3, %s);
  const sent = [];
  u.on('upload-progress', (_, p) => sent.push(p.bytesUploaded));
  window.cutNow = 0;
  u.on('s3-multipart:part-uploaded', () => window.cutNow++);
  u.addFile({name: '긴 녹음.wav', type: 'audio/wav', data: file});
  const result = await u.upload();
  const done = result.successful[0];
  return {failed: result.failed.map(f => f.error + ''), body: done?.response?.body ?? null, url: done?.uploadURL ?? '', sent: sent.length ? Math.max(...sent) : 0};
})()`

// uploaded is the result of the script uppy.
type uploaded struct {
	Failed []string
	Body   map[string]any
	URL    string
	Sent   int
}

func TestUppySendsRecordingsStraightToS3(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bundle, options string
		size            int
	}{
		"version 5 in parts":       {"uppy@5.2.4", `{endpoint: %q, shouldUseMultipart: true}`, 12 << 20},
		"version 5 in one request": {"uppy@5.2.4", `{endpoint: %q}`, 1 << 20},
		"version 6 in parts":       {"uppy@6.0.1", `{companionEndpoint: %q, shouldUseMultipart: true}`, 12 << 20},
		"version 6 in one request": {"uppy@6.0.1", `{companionEndpoint: %q}`, 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			script, err := fromNPM(c.bundle, "dist/uppy.min.js")
			if err != nil {
				t.Fatal(err)
			}
			home := servePage(t, script)
			w := harnesstest.Start(t, harnesstest.Options{Settings: map[string]string{"CORS_ALLOWED_ORIGINS": home}})
			v := &visitor{t: t, page: browser(t.Context(), t, chromedp.Flag("autoplay-policy", "no-user-gesture-required")), home: home}
			v.open("/")
			v.sees("window.Uppy")
			options := fmt.Sprintf(c.options, w.Gateway)
			got := evaluate[uploaded](v, fmt.Sprintf(uppy, longRecording(c.size), w.Token, options))
			if len(got.Failed) > 0 || got.Sent < c.size {
				t.Fatalf("Uppy says %+v", got)
			}
			key, _ := got.Body["key"].(string)
			job := jobOf(t, key, got.URL)
			if !strings.Contains(got.URL, job) {
				t.Errorf("for the recording of job %s, Uppy has the address %s", job, got.URL)
			}
			testkit.Eventually(t, func() error { // the job of a form begins when the uploader has found the file
				_, err := w.API.Job(w.Context(), job, 0)
				return err
			})
			frames := w.Follow(w.Context(), t, job, "en")
			if end := frames[len(frames)-1]; end.Status != "completed" {
				t.Errorf("the job ended as %+v", end)
			}
		})
	}
}

var largeUpload = flag.Int("large-upload", 24<<20, "bytes of the recordings that are sent over a network that breaks")

// largePatience is the time limit of each step of a large upload: a second for a megabyte, and a minute.
func largePatience() time.Duration { return time.Minute + time.Duration(*largeUpload)*time.Microsecond }

// breaks lets a quarter of a large upload through a proxy and then breaks the connections.
func breaks(t *testing.T, way *testkit.Proxy) {
	t.Helper()
	awaitHeld(t, way.Hold(int64(*largeUpload)/4))
	way.Cut()
}

// awaitHeld waits until a proxy has forwarded the bytes of Hold.
func awaitHeld(t *testing.T, held <-chan struct{}) {
	t.Helper()
	select {
	case <-held:
	case <-time.After(largePatience()):
		t.Fatal("nothing more is sent")
	}
}

// endOf waits for the end of a large upload, and returns its job.
func endOf(v *visitor) string {
	v.t.Helper()
	return evaluate[string](v, fmt.Sprintf(
		"Promise.race([window.outcome, new Promise((_, fail) => setTimeout(() => fail(Error('the upload does not end')), %d))])", largePatience().Milliseconds()))
}

// resuming is the script of a frontend whose upload survives a reload: Uppy with AwsS3 and GoldenRetriever. After a
// reload it continues the uploads that it finds.
const resuming = `(() => {
  const u = new Uppy.Uppy({id: 'sori', meta: {token_id: %d}}).use(Uppy.AwsS3, {endpoint: %q, shouldUseMultipart: true, limit: 1})
    .use(Uppy.GoldenRetriever, {indexedDB: {maxFileSize: 4e9, maxTotalSize: 8e9}});
  window.parts = 0;
  u.on('s3-multipart:part-uploaded', () => window.parts++);
  window.outcome = new Promise(done => u.on('upload-success', (_, response) => done(response.body.job_id)));
  u.on('upload-error', () => setTimeout(() => u.retryAll(), 500));
  if (%v) {
    u.on('restored', () => u.emit('restore-confirmed'));
    return;
  }
  u.addFile({name: 'long.wav', type: 'audio/wav', data: %s});
  u.upload();
})()`

func TestUppyContinuesAfterCutsAndAReload(t *testing.T) {
	t.Parallel()
	script, err := fromNPM("uppy@5.2.4", "dist/uppy.min.js")
	if err != nil {
		t.Fatal(err)
	}
	k, home := testkit.New(t), servePage(t, script)
	s3 := k.Proxy(k.Settings(nil)["S3_ENDPOINT"])
	w := harnesstest.Start(t, harnesstest.Options{Settings: map[string]string{"CORS_ALLOWED_ORIGINS": home, "S3_PUBLIC_ENDPOINT": s3.URL}})
	gateway := k.Proxy(w.Gateway)
	tooMuch := gateway.Hold(1 << 20)
	v := &visitor{t: t, page: browser(t.Context(), t, chromedp.Flag("autoplay-policy", "no-user-gesture-required")), home: home}
	begins := func(again bool) {
		t.Helper()
		v.sees("window.Uppy")
		v.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(resuming, w.Token, gateway.URL, again, longRecording(*largeUpload))))
	}
	v.open("/")
	begins(false)
	breaks(t, s3)
	s3.Restore()
	breaks(t, s3)
	s3.Restore()
	breaks(t, s3)
	v.leaves(func() { v.do(chromedp.Reload()) })
	s3.Restore()
	begins(true)
	job := endOf(v)
	if sent, all := evaluate[int](v, "window.parts"), (*largeUpload+5<<20-1)/(5<<20); sent == 0 || sent >= all {
		t.Errorf("after the reload %d of %d parts were sent", sent, all)
	}
	select {
	case <-tooMuch:
		t.Error("a megabyte was sent to the gateway")
	default:
	}
	frames := w.Follow(w.Context(), t, job, "en")
	if end := frames[len(frames)-1]; end.Status != "completed" {
		t.Errorf("the job ended as %+v", end)
	}
}

// longRecording returns a JavaScript expression: a Blob of a size in bytes that repeats a recording.
// The Blob is made of byte arrays, not of other Blobs: Chromium kills a page whose Blob refers to
// thousands of others ("Bad blob references in BlobRegistry::Register").
func longRecording(size int) string {
	tone := base64.StdEncoding.EncodeToString(loadgen.Tone(220, time.Second))
	return fmt.Sprintf(`((tone, size) => {
    const parts = [];
    for (let at = 0; at < size; at += tone.length) parts.push(tone.subarray(0, size - at));
    return new Blob(parts, {type: 'audio/wav'});
  })(Uint8Array.from(atob(%q), c => c.charCodeAt(0)), %d)`, tone, size)
}

// jobOf returns the job that the key of an object names, or its URL.
func jobOf(t *testing.T, key, link string) string {
	t.Helper()
	for _, text := range []string{key, link} {
		if _, rest, ok := strings.Cut(text, "audio/"); ok && len(rest) > 36 {
			return rest[:36]
		}
	}
	t.Fatalf("neither %q nor %q names a job", key, link)
	return ""
}

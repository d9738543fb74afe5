//go:build tools

package tools_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	"sori.internal/infra/internal/harness/harnesstest"
)

// outcome is the result of a job in the API.
type outcome struct {
	Status string
	Error  *struct{ Code string }
	Result *struct {
		Duration float64
		Format   string
		Codec    string
		Warnings []string
	}
}

// analyseListed uploads a recording and returns its outcome, and the duration in seconds in the list of
// jobs, or a negative number if the list has none.
func analyseListed(t *testing.T, w *harnesstest.Env, name string, content []byte) (outcome, float64) {
	t.Helper()
	job := w.Upload(t, name, content)
	w.Follow(w.Context(), t, job, "en")
	var o outcome
	w.Result(t, job, &o)
	return o, listedLength(t, w, job)
}

func listedLength(t *testing.T, w *harnesstest.Env, job string) float64 {
	t.Helper()
	resp, err := w.Client.Get(w.Gateway + "/jobs/?limit=200")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", resp.Status, text, err)
	}
	var list struct {
		Jobs []struct {
			JobID    string `json:"job_id"`
			Duration *float64
		}
	}
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	for _, listed := range list.Jobs {
		if listed.JobID == job && listed.Duration != nil {
			return *listed.Duration
		}
	}
	return -1
}

// checkAnalysed compares the outcome of a recording with the audio that ffmpeg decodes. The list of jobs
// must show the duration in the result, even if the file itself states no duration.
func checkAnalysed(t *testing.T, w *harnesstest.Env, name string, content []byte) {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	codec, decoded := decodedBy(t, file)
	o, listed := analyseListed(t, w, name, content)
	if decoded == 0 { // the description of the audio was in the part that is cut off
		if o.Status != "failed" || o.Error == nil || o.Error.Code != "no-audio" {
			t.Errorf("%s: ffmpeg decodes nothing, the job is %s: %+v", name, o.Status, o.Error)
		}
		return
	}
	if o.Status != "completed" || o.Result == nil {
		t.Errorf("%s: the job is %s: %+v", name, o.Status, o.Error)
		return
	}
	const close, equal = 0.010, 0.001 // seconds
	length := o.Result.Duration
	if o.Result.Codec != codec || math.Abs(length-decoded.Seconds()) > close || math.Abs(length-listed) > equal {
		t.Errorf("%s: %s of %f s, listed as %f s; ffmpeg decodes %f s of %s", name, o.Result.Codec, length, listed, decoded.Seconds(), codec)
	}
	t.Logf("%-24s %-14s %9.6f s, listed %9.6f, ffmpeg %9.6f %v", name, o.Result.Codec, length, listed, decoded.Seconds(), o.Result.Warnings)
}

func TestEveryFormatIsAnalysedAsFFmpegDecodesIt(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{})
	base := baseSound(t)
	for _, f := range mediaFormats() {
		for variant, content := range f.variants(t, base) {
			checkAnalysed(t, w, variant+"-"+f.file, content)
		}
	}
}

// recordInPage is a script that records 0.75 s from the simulated microphone, as frontends do: the file
// contains no duration, and consists of one or several parts.
const recordInPage = `(async (type, slice) => {
	const stream = await navigator.mediaDevices.getUserMedia({audio: true});
	const recorder = new MediaRecorder(stream, {mimeType: type});
	const parts = [];
	const ended = new Promise((resolve) => { recorder.ondataavailable = (e) => parts.push(e.data); recorder.onstop = resolve; });
	recorder.start(slice);
	await new Promise((resolve) => setTimeout(resolve, 750));
	recorder.stop();
	await ended;
	const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
	let text = '';
	for (const b of bytes) text += String.fromCharCode(b);
	return btoa(text);
})`

func TestRecordingsOfABrowserAreAnalysed(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{})
	ctx := browser(w.Context(), t,
		chromedp.Flag("use-fake-device-for-media-stream", true), chromedp.Flag("use-fake-ui-for-media-stream", true))
	if err := chromedp.Do(ctx, chromedp.Navigate(w.Gateway+"/livez")); err != nil {
		t.Fatal(err)
	}
	for name, how := range map[string]string{
		"chrome.webm": `('audio/webm;codecs=opus', undefined)`, "chrome-live.webm": `('audio/webm;codecs=opus', 100)`,
		"chrome.mp4": `('audio/mp4;codecs=opus', undefined)`, "chrome-live.mp4": `('audio/mp4;codecs=opus', 100)`,
	} {
		encoded, err := chromedp.Run(ctx, chromedp.Evaluate[string](recordInPage+how, chromedp.EvalAwaitPromise))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		content, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || len(content) < 1000 {
			t.Fatalf("%s: %d bytes, %v", name, len(content), err)
		}
		checkAnalysed(t, w, name, content)
	}
}

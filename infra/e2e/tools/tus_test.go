//go:build tools

package tools_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"

	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/shared/testkit"
)

// tusClient is the script of a frontend with tus-js-client that knows only the address of the API. It cuts the
// upload once in the middle of a request, and continues it in a new tus.Upload, as after a reload: tus-js-client
// does not report the failures of a parallel upload that was aborted and started again.
const tusClient = `(async () => {
  const file = %s;
  let cut = false, job = '';
  return await new Promise(resolve => {
    const begin = async () => {
      const u = new tus.Upload(file, {
        endpoint: %q, metadata: {token_id: '%d', filename: '긴 녹음.wav'}, retryDelays: [0, 100, 500, 1000, 3000], %s
        onAfterResponse: (_, res) => { job = res.getHeader('Sori-Job') || job },
        onProgress: sent => { if (!cut && sent > file.size / 2) { cut = true; u.abort().then(begin) } },
        onError: e => resolve({failed: e + '', cut, job}),
        onSuccess: () => resolve({failed: '', cut, job}),
      });
      const [before] = await u.findPreviousUploads();
      if (before) u.resumeFromPreviousUpload(before);
      u.start();
    };
    begin();
  });
})()`

func TestTusResumesUploads(t *testing.T) {
	t.Parallel()
	script, err := fromNPM("tus-js-client@4.3.1", "dist/tus.min.js")
	if err != nil {
		t.Fatal(err)
	}
	home := servePage(t, script)
	w := harnesstest.Start(t, harnesstest.Options{Settings: map[string]string{"CORS_ALLOWED_ORIGINS": home}})
	for name, options := range map[string]string{"in one request": "", "in chunks": "chunkSize: 1 << 20,", "in parallel": "parallelUploads: 2,"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := &visitor{t: t, page: browser(t.Context(), t, chromedp.Flag("autoplay-policy", "no-user-gesture-required")), home: home}
			v.open("/")
			v.sees("window.tus")
			got := evaluate[struct {
				Failed, Job string
				Cut         bool
			}](v, fmt.Sprintf(tusClient, longRecording(12<<20), w.Gateway+"/uploads/", w.Token, options))
			if got.Failed != "" || got.Job == "" || !got.Cut {
				t.Fatalf("tus-js-client says %+v", got)
			}
			frames := w.Follow(w.Context(), t, got.Job, "en")
			if end := frames[len(frames)-1]; end.Status != "completed" {
				t.Errorf("the job ended as %+v", end)
			}
		})
	}
}

// patientTusClient is the script of a frontend with tus-js-client that sends a long recording, however often its
// requests fail.
const patientTusClient = `(() => {
  let job = '';
  window.outcome = new Promise((done, fail) => new tus.Upload(%s, {
    endpoint: %q, metadata: {token_id: '1', filename: 'long.wav'}, retryDelays: Array(1000).fill(200),
    onAfterResponse: (_, res) => { job = res.getHeader('Sori-Job') || job },
    onError: fail,
    onSuccess: () => done(job),
  }).start());
})()`

func TestTusOutlivesCutsAndAKilledUploader(t *testing.T) {
	t.Parallel()
	script, err := fromNPM("tus-js-client@4.3.1", "dist/tus.min.js")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*largePatience())
	defer cancel()
	k, home := testkit.New(t), servePage(t, script)
	c := harnesstest.StartProcesses(ctx, t, k, nil, map[string]string{"CORS_ALLOWED_ORIGINS": home})
	gateway := k.Proxy(c.URL(harness.Gateway))
	v := &visitor{t: t, page: browser(ctx, t), home: home}
	v.open("/")
	v.sees("window.tus")
	v.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(patientTusClient, longRecording(*largeUpload), gateway.URL+"/uploads/")))
	for range 2 {
		breaks(t, gateway)
		gateway.Restore()
	}
	awaitHeld(t, gateway.Hold(int64(*largeUpload)/4))
	uploader := c.Process(harness.Uploader, 0)
	uploader.Kill()
	if err := uploader.Start(ctx); err != nil {
		t.Fatal(err)
	}
	gateway.Restore()
	c.CheckJobs([]string{endOf(v)})
}

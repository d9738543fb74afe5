//go:build tools

package tools_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/cdproto/inspector"
	"github.com/chromedp/chromedp"

	analyzer "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
)

// browser opens a page in Debian's Chromium without a window (chromium-headless-shell), which starts in less than half the time
// of the whole browser. Requests of Chromium to its own services are disabled.
func browser(ctx context.Context, t *testing.T, more ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("chromium-headless-shell"), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("allow-pre-commit-input", true)) // otherwise keys that come before a page is painted are lost
	allocator, cancel := chromedp.NewExecAllocator(ctx, append(options, more...)...)
	t.Cleanup(cancel)
	return start(allocator, t)
}

// start starts the browser of a page, or opens a tab in the browser of another page. The browser or the tab stays open until
// the test ends. If the process of the page ends, the page does not answer any more: the test fails, and its waiting steps
// return.
func start(parent context.Context, t *testing.T, more ...chromedp.ContextOption) (page context.Context) {
	t.Helper()
	parent, end := context.WithCancel(parent)
	page, cancel := chromedp.NewContext(parent, append(more, chromedp.WithListener(func(e any) {
		if _, ok := e.(*inspector.EventTargetCrashed); ok {
			t.Error("the browser has ended the process of the page")
			end()
		}
	}))...)
	t.Cleanup(end)
	t.Cleanup(cancel)
	if err := chromedp.Do(page); err != nil {
		t.Fatal(err)
	}
	return page
}

// frontend is the script of a frontend: it uploads a form and follows the job with an
// EventSource, with only the handler onmessage. When the job has ended it lets the
// EventSource reconnect, and returns how that ended.
const frontend = `(async () => {
  const bytes = Uint8Array.from(atob(%q), c => c.charCodeAt(0));
  const form = new FormData();
  form.append('file', new File([bytes], '녹음.wav'));
  const accepted = await (await fetch('/tokens/%d/upload-audio', {method: 'POST', body: form})).json();
  const frames = [];
  const source = new EventSource('/tokens/analysis-progress/' + accepted.job_id);
  let opened = 0;
  source.onopen = () => opened++;
  source.onmessage = m => frames.push({id: m.lastEventId, ...JSON.parse(m.data)});
  await new Promise(stopped => source.onerror = () => source.readyState === EventSource.CLOSED && stopped());
  return {job: accepted.job_id, frames, opened};
})()`

// visit is the result of the script frontend.
type visit struct {
	Opened int `json:"opened"` // number of connections that the EventSource opened
	Frames []struct {
		Status   string `json:"status"`
		Progress int    `json:"progress"`
		Result   any    `json:"result"`
	} `json:"frames"`
}

func TestAPlainEventSourceFollowsAJobAndIsStoppedAtItsEnd(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Behaviour: analyzer.Behaviour{Delay: analyzer.Duration(2 * time.Second)}})
	page := browser(w.Context(), t)
	script := fmt.Sprintf(frontend, base64.StdEncoding.EncodeToString(loadgen.Tone(220, time.Second)), w.Token)
	if err := chromedp.Do(page, chromedp.Navigate(w.Gateway+"/livez")); err != nil {
		t.Fatal(err)
	}
	seen, err := chromedp.Run(page, chromedp.Evaluate[visit](script, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	// Frames of early stages may be missing, depending on when the browser opens the stream.
	if len(seen.Frames) < 2 || seen.Frames[0].Status != "processing" || seen.Opened != 1 {
		t.Fatalf("%d frames in %d connections: %+v", len(seen.Frames), seen.Opened, seen)
	}
	for i, f := range seen.Frames {
		if i > 0 && f.Progress < seen.Frames[i-1].Progress {
			t.Errorf("progress goes back: %+v", seen.Frames)
		}
	}
	end := seen.Frames[len(seen.Frames)-1]
	if end.Status != "completed" || end.Progress != 100 || end.Result == nil {
		t.Errorf("the end is %+v", end)
	}
}

//go:build tools

package tools_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	analyzer "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/shared/testkit"
)

// heldBytes is the number of bytes of an upload that the proxy forwards before it holds the connection.
const heldBytes = 64 << 10

// tooLong is a number of bytes that does not fit into the buffers between the browser and the proxy
// while the proxy holds an upload. A recording of this size is still sent in a form.
const tooLong = 15 << 20

// recorded creates a WAV file of 5 s. The parameter more is the number of bytes that follow the samples.
func recorded(t *testing.T, more int) string {
	t.Helper()
	return given(t, "녹음.wav", string(loadgen.Tone(220, 5*time.Second))+strings.Repeat("\x00", more))
}

func TestADiscardedUploadBecomesNoJob(t *testing.T) {
	t.Parallel()
	for name, more := range map[string]int{"in the middle": tooLong, "sent to its last byte": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
			door := w.Proxy(w.Gateway)
			v := arrive(t, door.URL)
			v.gives(recorded(t, more))
			held := door.Hold(heldBytes)
			v.presses("Analyse recording")
			<-held
			v.sees(`location.hash.startsWith('#/uploads/')`)
			if more == 0 {
				v.sees(`document.querySelector('[role=progressbar]')?.getAttribute('aria-valuenow') === '36'`)
			}
			v.do(chromedp.Evaluate[chromedp.Void](`location.hash = '#/'`))
			v.sees(`document.querySelector('.note button')`)
			v.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('.note button').click()`))
			v.sees(`!document.querySelector('.note button')`)
			door.Restore()
			if more == 0 {
				v.sees(`performance.getEntriesByType('resource').some(e => /\/jobs\/[0-9a-f-]{36}$/.test(e.name))`) // the console erases the job of the discarded upload
			}
			idle(t, w)
			v.open("/#/jobs")
			v.reads("No jobs yet.")
		})
	}
}

func TestAnUploadThatHasBecomeAJobIsNotDiscarded(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	door := w.Proxy(w.Gateway)
	v := arrive(t, door.URL)
	other := v.tab()
	for _, tab := range []*visitor{v, other} {
		tab.open("/#/jobs")
		tab.reads("No jobs yet.")
		tab.loadsFonts()
	}
	v.presses("New")
	v.gives(recorded(t, tooLong))
	held := door.Hold(heldBytes)
	v.presses("Analyse recording")
	<-held
	v.sees(`location.hash.startsWith('#/uploads/')`)
	for _, tab := range []*visitor{v, other} {
		tab.do(chromedp.Evaluate[chromedp.Void](`location.hash = '#/'`))
		tab.reads("is being uploaded.")
	}
	door.Restore()
	v.sees(`!document.querySelector('.note')`)

	// The other tab does not know yet that the upload has become a job, which stays.
	other.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('.note button').click()`))
	other.sees(`!document.querySelector('.note')`)
	other.presses("Jobs")
	other.sees(`document.querySelector('tbody tr')?.innerText.includes('Completed')`)
}

// idle waits until no upload is under way.
func idle(t *testing.T, w *harnesstest.Env) {
	t.Helper()
	testkit.Eventually(t, func() error {
		_, text := harnesstest.Send(t, http.DefaultClient, http.MethodGet, w.Metrics+"/metrics")
		if !strings.Contains(text, "\nsori_uploads_active 0\n") {
			return fmt.Errorf("uploads are under way")
		}
		return nil
	})
}

// lastingPauses is a script that makes every pause of at least 500 ms endless.
const lastingPauses = `(() => {
	const quick = setTimeout;
	window.setTimeout = (work, ms, ...rest) => ms >= 500 ? 0 : quick(work, ms, ...rest);
})()`

func TestAnUploadThatIsCutTellsThatItStartsAgain(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	door := w.Proxy(w.Gateway)
	v := arrive(t, door.URL)
	v.loadsFonts()
	v.gives(recorded(t, tooLong))
	// Pauses of half a second to a minute are a hundred times shorter. Their original durations are added up.
	v.do(chromedp.Evaluate[chromedp.Void](`(() => {
		const real = setTimeout;
		window.waited = 0;
		window.setTimeout = (work, ms, ...rest) => {
			const pause = ms >= 500 && ms < 60_000; // longer ones are waits for progress
			window.waited += pause ? ms : 0;
			return real(work, pause ? ms / 100 : ms, ...rest);
		};
	})()`))
	// Every text that a live region has for a moment is counted.
	v.do(chromedp.Evaluate[chromedp.Void](`(() => {
		window.told = 0;
		const broke = node => node.nodeType === 1 && node.matches('[role=status]') && node.textContent.includes('The connection broke.');
		new MutationObserver(all => all.forEach(one => one.addedNodes.forEach(node => (window.told += broke(node) ? 1 : 0)))).observe(document.body, {subtree: true, childList: true});
	})()`))
	held := door.Hold(heldBytes)
	v.presses("Analyse recording")
	<-held
	// From now on, requests fail before a byte is sent.
	v.do(chromedp.Evaluate[chromedp.Void](`(() => {
		const real = XMLHttpRequest.prototype.open;
		window.reconnect = () => (XMLHttpRequest.prototype.open = real);
		XMLHttpRequest.prototype.open = function (method) { real.call(this, method, 'http://127.0.0.1:1/'); };
	})()`))
	door.Cut()
	v.reads("Send again")
	if told := evaluate[int](v, "window.told"); told != 1 {
		t.Errorf("a screen reader is told %d times that the connection broke", told)
	}
	if waited := evaluate[float64](v, "window.waited"); waited < 90_000 || waited > 95_000 {
		t.Errorf("it gave up after %v ms", waited)
	}
	v.shoots("upload-given-up")
	held = door.Hold(heldBytes)
	v.do(chromedp.Evaluate[chromedp.Void](`reconnect()`), chromedp.Evaluate[chromedp.Void](lastingPauses))
	v.presses("Send again")
	<-held
	door.Cut()
	v.reads("The file is sent again from its start")
	if bar := v.bar(); bar != 0 {
		t.Errorf("the bar is at %d, of a file that is sent again from its start", bar)
	}
	v.shoots("upload-cut")
}

func TestTheBarGivesSendingAndAnalysisTheirShares(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t), Behaviour: analyzer.Behaviour{Delay: analyzer.Duration(6 * time.Second), NoProgress: true}})
	door := w.Proxy(w.Gateway)
	v := arrive(t, door.URL)
	v.loadsFonts()
	v.gives(recorded(t, 0))
	held := door.Hold(heldBytes)
	v.presses("Analyse recording")
	<-held
	v.sees(`document.querySelector('[role=progressbar]')?.getAttribute('aria-valuenow') === '36'`)
	v.shoots("upload")
	door.Restore()
	v.sees(`document.querySelector('[role=progressbar]')?.getAttribute('aria-valuenow') === '70' && document.title.startsWith('70%')`)
	v.reads("Analysis complete")
}

func TestWhatIsNoRecordingIsRefusedBeforeItIsSent(t *testing.T) {
	t.Parallel()
	settings := withConsole(t)
	settings["MAX_UPLOAD_BYTES"], settings["MAX_DIRECT_UPLOAD_BYTES"] = "100000", "200000"
	w := harnesstest.Start(t, harnesstest.Options{Settings: settings})
	v := arrive(t, w.Gateway)
	v.reads("up to 200 kB")
	v.reads("AMR or CAF")
	for _, c := range []struct{ name, text, told string }{
		{"empty.wav", "", "is empty"},
		{"notes.wav", "these are no sounds", "is a text file"},
		{"사진.wav", "\x89PNG\r\n\x1a\n\x00\x00", "is an image"},
		{"paper.mp3", "%PDF-1.7\n", "is a PDF document"},
		{"archive.flac", "PK\x03\x04\x14\x00", "is an archive"},
		{"long.wav", string(loadgen.Tone(220, 10*time.Second)), "larger than the 200 kB"},
	} {
		v.do(chromedp.SetUploadFiles(chromedp.CSS("input[type=file]"), []string{given(t, c.name, c.text)}))
		v.sees(fmt.Sprintf("[...document.querySelectorAll('[role=alert]')].some(el => el.textContent.includes(%q) && el.textContent.includes(%q))", c.name, c.told))
		v.shoots("refused-" + strings.SplitN(c.name, ".", 2)[0])
	}
	v.presses("Analyse recording")
	v.reads("Record something, choose a file or paste a link.")

	// A file that is dropped beside the zone for it is not opened by the browser in place of the page.
	const dropped = `(selector => {
		const data = new DataTransfer();
		data.items.add(new File(['RIFF\x00\x00'], 'dropped.wav'));
		const drop = new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true});
		document.querySelector(selector).dispatchEvent(drop);
		return drop.defaultPrevented;
	})`
	v.sees(dropped + `('h1')`)
	if evaluate[bool](v, `document.body.innerText.includes('dropped.wav')`) {
		t.Error("a file that was dropped on the title is taken")
	}
	v.sees(dropped + `('.drop')`)
	v.reads("dropped.wav")
}

func TestAFileThatIsTooLargeIsToldTheLimit(t *testing.T) {
	t.Parallel()
	settings := withConsole(t)
	settings["MAX_UPLOAD_BYTES"] = "200000"
	w := harnesstest.Start(t, harnesstest.Options{Settings: settings})
	v := arrive(t, w.Gateway)
	// The console cannot read the limit in advance, and learns it from the refusal.
	v.do(chromedp.Evaluate[chromedp.Void](`(() => {
		const real = fetch;
		window.fetch = (url, ...rest) => real(new URL(url, location.href).pathname === '/limits' ? '/livez' : url, ...rest);
	})()`))
	v.presses("Jobs")
	v.presses("New")
	v.gives(recorded(t, 100_000))
	v.presses("Analyse recording")
	v.reads("larger than the 200 kB that can be uploaded")
	v.shoots("too-large")
}

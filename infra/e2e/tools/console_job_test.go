//go:build tools

package tools_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	chrome "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"
	"github.com/minio/minio-go/v7"

	analyzer "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/shared/testkit"
)

// awaits waits until a job has the status and at least the progress, in percent.
func awaits(t *testing.T, w *harnesstest.Env, job, status string, progress int) {
	t.Helper()
	testkit.Eventually(t, func() error {
		var r struct {
			Status   string
			Progress int
		}
		w.Result(t, job, &r)
		if r.Status != status || r.Progress < progress {
			return fmt.Errorf("the job is %+v", r)
		}
		return nil
	})
}

func cancelJob(t *testing.T, w *harnesstest.Env, job string) {
	t.Helper()
	resp, err := w.Client.Post(w.Gateway+"/jobs/"+job+"/cancel", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		t.Fatalf("cancel the job: %s", resp.Status)
	}
}

func TestEveryTabTellsHowLongAJobTook(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t), Behaviour: analyzer.Behaviour{Delay: analyzer.Duration(3 * time.Second)}})
	v := arrive(t, w.Gateway)
	v.gives(speechFile(t))
	v.presses("Analyse recording")
	v.sees(`location.hash.startsWith('#/jobs/')`)
	other := v.tab()
	other.open("/" + evaluate[string](v, "location.hash"))
	const took = `[...document.querySelectorAll('.meta span')].map(el => el.textContent).find(text => /^took/.test(text))`
	for _, tab := range []*visitor{v, other} {
		tab.reads("Analysis complete")
		tab.sees(`/^took (\d\d|[3-9])(\.\d)? sec/.test(` + took + `)`)
	}
	if a, b := evaluate[string](v, took), evaluate[string](other, took); a != b {
		t.Errorf("one tab tells %q, the other %q", a, b)
	}
	v.shoots("took")
}

func TestASeventhTabLoadsBesideSixRunningJobs(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t), Behaviour: analyzer.Behaviour{Delay: analyzer.Duration(time.Hour)}})
	v := arrive(t, w.Gateway)
	tabs := map[string]*visitor{}
	for range 6 {
		job := w.Upload(t, "a.wav", loadgen.Tone(220, time.Second))
		tab := v.tab()
		tab.open("/#/jobs/" + job)
		tab.sees(`document.querySelector('[role=progressbar]')`)
		tabs[job] = tab
	}
	seventh := v.tab()
	page, cancel := context.WithTimeout(seventh.page, 20*time.Second)
	defer cancel()
	if err := chromedp.Do(page, chromedp.Navigate(w.Gateway+"/#/jobs")); err != nil {
		t.Fatalf("the seventh tab does not load: %v", err)
	}
	seventh.sees(`document.querySelectorAll('tbody tr').length === 6`)
	// Every tab shows the end of its job, with a stream or without.
	for job, tab := range tabs {
		cancelJob(t, w, job)
		tab.reads("This job was canceled.")
	}
}

func TestRowsBehindShowMoreAreAsTheServerHasThem(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t), Behaviour: analyzer.Behaviour{Delay: analyzer.Duration(time.Hour)}})
	oldest := w.Upload(t, "oldest.wav", loadgen.Tone(220, time.Second))
	awaits(t, w, oldest, "processing", 90)
	if err := w.Analyzer.Behave(analyzer.Behaviour{Instant: true}); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		w.Upload(t, "newer.wav", loadgen.Tone(220, 10*time.Millisecond))
	}
	v := arrive(t, w.Gateway)
	v.open("/#/jobs")
	v.sees(`document.querySelectorAll('tbody tr').length === 50`)
	v.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('main > .row button').click()`)) // clicked by script: a hundred links come before it in the tab order
	const row = `[...document.querySelectorAll('tbody tr')].find(row => row.innerText.includes('oldest.wav'))`
	v.sees(row + `?.innerText.includes('In progress')`)
	cancelJob(t, w, oldest)
	v.sees(row + `?.innerText.includes('Canceled')`)
	v.shoots("show-more")
}

func TestAPageHasItsTitleBackAfterAMomentOffline(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	job := w.Upload(t, "a.wav", loadgen.Tone(220, time.Second))
	awaits(t, w, job, "completed", 100)
	door := w.Proxy(w.Gateway)
	v := arrive(t, door.URL)
	v.loadsFonts()
	door.Cut()
	v.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf("location.hash = '#/jobs/%s'", job)))
	v.sees(`document.querySelector('h1')?.textContent.startsWith('Job ')`)
	v.reads("The server cannot be reached.")
	v.shoots("offline")
	door.Restore()
	v.reads("Analysis complete")
	// This browser never had the file of the recording, so the title is the name that the server returns.
	v.sees(`document.querySelector('h1').textContent === 'a.wav' && document.title.startsWith('a.wav')`)
	v.sees(`document.querySelector('.player')`)
}

func TestTheWayBackKeepsTheFiltersOfTheList(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	job := w.Upload(t, "a.wav", loadgen.Tone(220, time.Second))
	awaits(t, w, job, "completed", 100)
	v := arrive(t, w.Gateway)
	v.open("/#/jobs")
	v.presses("Completed")
	filtered := fmt.Sprintf("location.hash === '#/jobs?status=completed&token=%d'", w.Token)
	v.goes(`el.labels?.[0]?.textContent === 'Line number'`, fmt.Sprint(w.Token))
	v.sees(filtered)
	v.presses("a.wav")
	v.reads("Analysis complete")
	v.do(chromedp.Reload())
	v.presses("All jobs")
	v.sees(filtered)
	v.presses("a.wav")
	v.presses("Delete")
	v.goes(`el.closest('dialog') && el.textContent === 'Delete'`, "\r")
	v.reads("No job matches these filters.")
	v.sees(filtered)
}

func TestDatesAreWholeOnAPhone(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	v := arrive(t, w.Gateway)
	v.open("/#/jobs?from=2026-11-28&to=2026-12-28")
	v.sees(`document.querySelectorAll('input[type=date]').length === 2`)
	v.shoots("dates")
	for _, s := range []size{phone, narrow} {
		v.look(s, "light")
		clipped := evaluate[[]float64](v, `[...document.querySelectorAll('input[type=date]')].map(el => {
			const whole = el.cloneNode();
			whole.style.cssText = 'position: absolute; width: max-content';
			el.parentNode.append(whole);
			const missing = whole.getBoundingClientRect().width - el.getBoundingClientRect().width;
			whole.remove();
			return missing;
		})`)
		for _, missing := range clipped {
			if missing > 0 {
				t.Errorf("%v pixels of a date are missing on a %s", missing, s.name)
			}
		}
	}
}

func TestWhyAResultIsNotComparedIsTold(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	v := arrive(t, w.Gateway)
	shows := func(name, told string, audio []byte) {
		t.Helper()
		job := w.Upload(t, name, audio)
		v.open("/#/jobs/" + job)
		v.sees(`document.querySelector('.score .hint')?.textContent === '` + told + `'`)
		v.shoots("not-compared-" + strings.SplitN(name, ".", 2)[0])
	}
	shows("none.wav", "no reference to compare with", loadgen.Tone(220, time.Second))
	refer(t, w)
	silence := loadgen.Tone(220, time.Second)
	clear(silence[44:])
	shows("silent.wav", "no voice in the recording to compare", silence)
	client, bucket := w.Bucket()
	broken := []byte("this is no JSON")
	if _, err := client.PutObject(w.Context(), bucket, "refs/1.json", bytes.NewReader(broken), int64(len(broken)), minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	shows("broken.wav", "the reference could not be read", loadgen.Tone(220, time.Second))
	v.reads("The reference could not be read, so the melody was not compared.")
}

// english is a JavaScript function that finds a sequence of several English words in a text.
const english = `(text => text.match(/[A-Za-z]{2,}( [a-z]{2,}){2,}/)?.[0] ?? '')`

func TestTheKoreanConsoleSpeaksKorean(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t), Behaviour: analyzer.Behaviour{
		Delay: analyzer.Duration(2 * time.Second), Fail: true, FailReason: "it is only a beep",
	}})
	v := arrive(t, w.Gateway)
	v.speaks("ko")
	// All texts of the page are recorded from now on, also those that are shown only for a short time.
	v.do(chromedp.Evaluate[chromedp.Void](`(() => {
		window.said = new Set();
		new MutationObserver(() => said.add(document.body.innerText)).observe(document.body, {subtree: true, childList: true, characterData: true});
	})()`))
	v.do(chromedp.SetUploadFiles(chromedp.CSS("input[type=file]"), []string{speechFile(t)}))
	v.reads("준비된 녹음")
	v.presses("분석 시작")
	v.sees(`document.querySelector('.failure')`)
	if got := evaluate[string](v, `[...said, document.body.innerText].map(`+english+`).find(text => text !== '') ?? ''`); got != "" {
		t.Errorf("the Korean page says %q", got)
	}
	v.shoots("failed-reason")

	if err := w.Analyzer.Behave(analyzer.Behaviour{}); err != nil {
		t.Fatal(err)
	}
	refer(t, w)
	silence := loadgen.Tone(220, time.Second)
	clear(silence[44:])
	v.open("/#/jobs/" + w.Upload(t, "조용한 녹음.wav", silence))
	v.reads("억양을 비교하지 못했습니다.")
	if got := evaluate[string](v, english+`(document.body.innerText)`); got != "" {
		t.Errorf("the Korean page of a result says %q", got)
	}
	v.shoots("warned")
}

func TestNoPageSaysToken(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	v := arrive(t, w.Gateway)
	job := w.Upload(t, "a.wav", loadgen.Tone(220, time.Second))
	for _, path := range []string{"/#/", "/#/jobs", "/#/jobs/" + job} {
		v.open(path)
		v.sees(`document.querySelector('input[type=radio], tbody, .scores')`)
		for _, lang := range []string{"ko", "en"} {
			v.speaks(lang)
			if evaluate[bool](v, `/token|토큰/i.test(document.body.innerText + [...document.querySelectorAll('[aria-label], [placeholder]')].map(el => el.ariaLabel + el.placeholder))`) {
				t.Errorf("%s says token in %s", path, lang)
			}
		}
	}
	v.open("/#/")
	v.reads("A line is what somebody speaks in the recording.")
	v.shoots("line")
}

func TestAFailedJobsRecordingPlays(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t), Behaviour: analyzer.Behaviour{RejectStatus: http.StatusUnprocessableEntity}})
	job := w.Upload(t, "a.wav", loadgen.Tone(220, 3*time.Second))
	awaits(t, w, job, "failed", 0)
	v := arrive(t, w.Gateway)
	v.open("/#/jobs/" + job)
	v.sees(`document.querySelector('.failure')`)
	v.sees(`document.querySelector('.player')`)
	v.goes(`el.getAttribute('aria-label') === 'Play'`, "\r")
	v.sees(`document.querySelector('.player input').valueAsNumber > 0.1`)
	v.sees(fmt.Sprintf(`[...document.querySelectorAll('a[download]')].some(a => a.href.endsWith('/jobs/%s/audio?download=1'))`, job))
	v.shoots("failed-playable")
	// The button to try again is shown only if the error is retryable.
	var r struct{ Error struct{ Retryable bool } }
	w.Result(t, job, &r)
	if offered := evaluate[bool](v, `[...document.querySelectorAll('button')].some(el => el.textContent === 'Try again')`); offered != r.Error.Retryable {
		t.Errorf("retryable is %v, and offered is %v", r.Error.Retryable, offered)
	}
}

func TestAResultIsDownloaded(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	v := arrive(t, w.Gateway)
	v.gives(speechFile(t))
	v.presses("Analyse recording")
	v.reads("Analysis complete")
	// The file exists, empty, before its bytes are written: only the event shows that the download is complete.
	ended := make(chan chrome.DownloadProgressState, 3)
	if err := chromedp.Listen(v.page, func(ev any) {
		if p, ok := ev.(*chrome.EventDownloadProgress); ok && p.State != chrome.DownloadProgressStateInProgress {
			ended <- p.State
		}
	}); err != nil {
		t.Fatal(err)
	}
	dir, events := t.TempDir(), true
	if _, err := chromedp.Call(v.page, chrome.SetDownloadBehavior, chrome.SetDownloadBehaviorParams{
		Behavior: chrome.SetDownloadBehaviorBehaviorAllow, DownloadPath: dir, EventsEnabled: &events,
	}); err != nil {
		t.Fatal(err)
	}
	downloaded := func(link, name string) []byte {
		t.Helper()
		v.presses(link)
		select {
		case state := <-ended:
			if state != chrome.DownloadProgressStateCompleted {
				t.Fatalf("the download of %s is %s", name, state)
			}
		case <-time.After(time.Minute):
			t.Fatalf("the download of %s has not ended after a minute", name)
		}
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	var result struct{ Duration float64 }
	if err := json.Unmarshal(downloaded("Result (JSON)", "speech.json"), &result); err != nil || result.Duration < 2 {
		t.Errorf("the JSON has %+v, %v", result, err)
	}
	if csv := string(downloaded("Curves (CSV)", "speech.csv")); !strings.HasPrefix(csv, "\ufefftime_seconds,pitch_hz,peak_dbfs,segment\r\n0,") || strings.Count(csv, "\r\n") < 100 || !strings.Contains(csv, ",speech\r\n") {
		t.Errorf("the CSV begins with %.200q", csv)
	}
	audio, err := os.ReadFile(speech)
	if err != nil {
		t.Fatal(err)
	}
	if got := downloaded("Recording", "speech.flac"); !bytes.Equal(got, audio) {
		t.Errorf("the recording has %d bytes, of %d", len(got), len(audio))
	}
	v.shoots("downloads")
}

func TestACachedResultSaysSoAndIsAnalysedAnewOnRequest(t *testing.T) {
	t.Parallel()
	settings := withConsole(t)
	settings["RESULT_CACHE_TTL"] = "1h"
	w := harnesstest.Start(t, harnesstest.Options{Settings: settings, Behaviour: analyzer.Behaviour{Instant: true}})
	v := arrive(t, w.Gateway)
	const cached = "This is the result of an earlier analysis of the same recording."
	for i := range 2 {
		if i > 0 {
			v.open("/#/")
		}
		v.gives(speechFile(t))
		v.presses("Analyse recording")
		v.sees(`location.hash.startsWith('#/jobs/')`)
		v.reads("Analysis complete")
	}
	v.reads(cached)
	second := evaluate[string](v, "location.hash")
	v.presses("Analyse anew")
	v.sees(`location.hash.startsWith('#/jobs/') && location.hash !== '` + second + `'`)
	v.reads("Analysis complete")
	v.sees(`!document.body.textContent.includes('` + cached + `')`)
	var r struct {
		Cached bool `json:"cached"`
	}
	w.Result(t, strings.TrimPrefix(evaluate[string](v, "location.hash"), "#/jobs/"), &r)
	if r.Cached {
		t.Error("the new result is cached")
	}
}

//go:build tools

package tools_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/minio/minio-go/v7"

	analyzer "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
)

// speech is the path of a recording of a voice.
const speech = "../../analyzer/internal/analysis/testdata/speech.flac"

// given creates a file for a visitor to upload.
func given(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func speechFile(t *testing.T) string {
	t.Helper()
	file, err := filepath.Abs(speech)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// drawn is a script that returns, for each canvas of a page, the number of drawn pixels and of their colours.
const drawn = `[...document.querySelectorAll('.plot canvas')].map(canvas => {
  const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  const colours = new Set();
  let count = 0;
  for (let i = 0; i < pixels.length; i += 4) {
    if (pixels[i + 3] > 0) {
      count++;
      colours.add([pixels[i] >> 4, pixels[i + 1] >> 4, pixels[i + 2] >> 4].join());
    }
  }
  return {pixels: count, colours: colours.size};
})`

func TestTheConsoleTakesARecordingToItsPictures(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t), Behaviour: analyzer.Behaviour{Delay: analyzer.Duration(4 * time.Second)}})
	v := arrive(t, w.Gateway)
	v.presses("Analyse recording")
	v.reads("Record something, choose a file or paste a link.")
	v.gives(speechFile(t))
	v.shoots("new")
	v.presses("Analyse recording")
	v.sees(`location.hash.startsWith('#/jobs/')`)

	// A reload before the end of the job loses nothing.
	v.sees(`document.querySelector('[role=progressbar]')?.getAttribute('aria-valuenow') >= 70`)
	before, address := v.bar(), evaluate[string](v, "location.href")
	v.shoots("progress")
	v.do(chromedp.Reload())
	v.sees(`document.querySelector('[role=progressbar]')`)
	if after := v.bar(); after < before || evaluate[string](v, "location.href") != address {
		t.Errorf("the bar was at %d, and is at %d after a reload", before, after)
	}
	v.sees(`document.querySelector('[role=progressbar]')?.getAttribute('aria-valuenow') === '100'`)
	v.reads("Analysis complete")
	checkPictures(t, v)
	checkPlayback(t, v)
	checkLanguages(t, v)
	v.shoots("result")
	v.presses("Raw JSON")
	v.sees(`JSON.parse(document.querySelector('pre').textContent).duration > 2`)
	checkList(v)

	// Another browser, which never had the file, plays the stored recording.
	other := arrive(t, w.Gateway)
	other.open("/" + evaluate[string](v, "location.hash"))
	other.reads("Analysis complete")
	checkPlayback(t, other)
}

// checkList finds the job in the list of jobs, and goes back to it.
func checkList(v *visitor) {
	v.t.Helper()
	v.presses("Jobs")
	v.sees(`document.querySelector('tbody tr')?.innerText.includes('speech.flac')`)
	v.presses("Failed")
	v.reads("No job matches these filters.")
	v.sees(`location.hash === '#/jobs?status=failed'`)
	v.presses("Clear filters")
	v.presses("speech.flac")
	v.reads("Analysis complete")
}

func checkPictures(t *testing.T, v *visitor) {
	t.Helper()
	v.sees(`document.querySelectorAll('.plot canvas').length === 3`)
	for i, picture := range evaluate[[]struct{ Pixels, Colours int }](v, drawn) {
		if picture.Pixels < 2000 || picture.Colours < 3 {
			t.Errorf("picture %d has %d pixels of %d colours", i, picture.Pixels, picture.Colours)
		}
	}
	for _, label := range evaluate[[]string](v, `[...document.querySelectorAll('.plot')].map(p => p.getAttribute('aria-label'))`) {
		if len(label) < 20 {
			t.Errorf("a picture says %q to a screen reader", label)
		}
	}
}

// checkPlayback plays the recording, and checks that the playheads in the plots move.
func checkPlayback(t *testing.T, v *visitor) {
	t.Helper()
	v.sees(`document.querySelector('.player')`)
	v.goes(`el.getAttribute('aria-label') === 'Play'`, "\r")
	v.sees(`[...document.querySelectorAll('.plot')].every(plot =>
		plot.querySelector('.playhead').getBoundingClientRect().left > 10 + plot.querySelector('.u-over').getBoundingClientRect().left)`)
}

// checkLanguages switches the console to Korean and back. The message of the server is
// in Korean, too, although the browser prefers English.
func checkLanguages(t *testing.T, v *visitor) {
	t.Helper()
	v.goes(`el.lang === 'ko'`, "\r")
	v.reads("분석 완료")
	v.reads("피치 중앙값")
	v.do(chromedp.Reload())
	v.reads("분석 완료")
	if lang := evaluate[string](v, "document.documentElement.lang"); lang != "ko" {
		t.Errorf("the page's language is %s", lang)
	}
	v.goes(`el.lang === 'en'`, "\r")
	v.reads("Analysis complete")
}

func TestAReloadInTheMiddleOfAnUploadLosesNothing(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	door := w.Proxy(w.Gateway)
	v := arrive(t, door.URL)
	v.loadsFonts()
	large := filepath.Join(t.TempDir(), "길게 녹음한 것.wav")
	if err := os.WriteFile(large, loadgen.Tone(220, time.Minute), 0o600); err != nil {
		t.Fatal(err)
	}
	v.gives(large)
	held := door.Hold(400 << 10)
	v.presses("Analyse recording")
	<-held
	v.sees(`location.hash.startsWith('#/uploads/')`)
	v.reads("길게 녹음한 것.wav")
	if bar := v.bar(); bar < 0 || bar > 36 {
		t.Errorf("the bar is at %d in the middle of the upload", bar)
	}
	reloaded := make(chan error, 1)
	go func() { reloaded <- chromedp.Do(v.page, chromedp.Reload()) }()
	door.Restore()
	if err := <-reloaded; err != nil {
		t.Fatal(err)
	}
	v.sees(`location.hash.startsWith('#/jobs/')`)
	v.reads("Analysis complete")

	// An upload that breaks in the middle is repeated without an action of the visitor.
	v.open("/#/")
	v.gives(large)
	held = door.Hold(400 << 10)
	v.presses("Analyse recording")
	<-held
	door.Cut()
	v.reads("The connection broke.")
	door.Restore()
	v.sees(`location.hash.startsWith('#/jobs/')`)
	v.reads("Analysis complete")
}

func TestTheConsoleRecordsFromTheMicrophone(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	v := arrive(t, w.Gateway)
	v.presses("Record")
	v.sees(`document.querySelector('[role=timer]')?.textContent >= '0:01.2'`)
	v.shoots("recording")
	v.presses("Stop recording")
	v.reads("Ready to analyse")
	v.presses("Analyse recording")
	v.reads("Analysis complete")
	job := evaluate[string](v, `location.hash.split('/').pop()`)
	var r struct {
		Result struct {
			Duration float64
			Codec    string
			Peak     *float64 `json:"peak_dbfs"`
		}
	}
	w.Result(t, job, &r)
	if r.Result.Duration < 1 || r.Result.Codec != "pcm_s16le" || r.Result.Peak == nil {
		t.Errorf("the recording is %+v", r.Result)
	}
}

func TestTheConsoleSaysWhatToDo(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t), Behaviour: analyzer.Behaviour{Fail: true, FailReason: "it is only a beep"}})
	v := arrive(t, w.Gateway)

	// A file that is no audio is refused with an explanation.
	v.gives(given(t, "noise.wav", "\x00\x01\x02 these are no sounds"))
	v.presses("Analyse recording")
	v.reads("This is not audio of a known format.")
	v.shoots("refused")
	v.presses("Use another recording")
	v.reads("New analysis")

	// A failed job is shown with the reason, and is retried.
	v.gives(speechFile(t))
	v.presses("Analyse recording")
	v.reads("The analysis server could not analyse this recording.")
	v.shoots("failed")
	if err := w.Analyzer.Behave(analyzer.Behaviour{}); err != nil {
		t.Fatal(err)
	}
	v.presses("Try again")
	v.reads("Analysis complete")
	v.presses("Delete")
	v.reads("This cannot be undone.")
	v.shoots("delete")
	v.do(chromedp.KeyEvent("\x1b"))
	v.sees(`!document.querySelector('dialog')`)

	// A job that waits for a busy analysis server is canceled.
	busy := analyzer.Behaviour{RejectStatus: http.StatusServiceUnavailable, RejectRetryAfter: analyzer.Duration(time.Hour)}
	if err := w.Analyzer.Behave(busy); err != nil {
		t.Fatal(err)
	}
	v.open("/#/")
	v.gives(speechFile(t))
	v.presses("Analyse recording")
	v.reads("Waiting for the analysis server, next try at")
	v.shoots("waiting")
	v.open("/#/jobs")
	v.sees(`document.querySelectorAll('tbody tr').length === 2`)
	v.shoots("jobs")
	v.do(chromedp.NavigateBack())
	v.presses("Cancel analysis")
	v.reads("This job was canceled.")
	v.shoots("canceled")

	v.open("/#/jobs/01890a5d-ac96-774b-bcce-b302099a8057")
	v.reads("There is no such job.")
	v.shoots("no-job")
	v.open("/#/nothing/here/at/all")
	v.reads("There is nothing here")
}

func TestAJobIsDeletedInTheConsole(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	v := arrive(t, w.Gateway)
	v.open("/#/jobs")
	v.reads("No jobs yet.")
	v.shoots("no-jobs")
	v.presses("New")
	v.gives(speechFile(t))
	v.presses("Analyse recording")
	v.reads("Analysis complete")
	address := evaluate[string](v, "location.hash")
	v.presses("Delete")
	v.goes(`el.closest('dialog') && el.textContent === 'Delete'`, "\r")
	v.reads("The job was deleted.")
	v.reads("No jobs yet.")
	for _, store := range []string{"recordings", "audio"} {
		if kept := v.kept(store); kept != 0 {
			t.Errorf("the browser keeps %d %s of the deleted job", kept, store)
		}
	}
	v.open("/" + address)
	v.reads("This job was deleted")
	v.sees(`!document.querySelector('.plot')`)
}

func TestTheConsoleComparesWithTheReference(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	refer(t, w)
	v := arrive(t, w.Gateway)
	v.gives(speechFile(t))
	v.presses("Analyse recording")
	v.sees(`document.querySelector('.match')?.value > 0`)
	v.sees(`document.querySelectorAll('.legend.reference').length === 1`)
	checkPictures(t, v)
	v.shoots("compared")
	v.presses("Hertz")
	v.sees(`document.querySelector('[aria-pressed=true]').textContent === 'Hertz'`)
	checkPictures(t, v)
}

// refer sets a reference for the environment's token: a pitch that falls from 140 Hz.
func refer(t *testing.T, w *harnesstest.Env) {
	t.Helper()
	var points []map[string]float64
	for i := range 180 {
		points = append(points, map[string]float64{"time": float64(i) / 100, "hz": 140 - float64(i)/4})
	}
	pitch, err := json.Marshal(points)
	if err != nil {
		t.Fatal(err)
	}
	client, bucket := w.Bucket()
	if _, err := client.PutObject(w.Context(), bucket, "refs/1.json", bytes.NewReader(pitch), int64(len(pitch)), minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	token := `{"token_name":"바람이 불어오는 곳","actor_name":"하나","category":"노래","start_time":0,"end_time":2,"s3_pitch_url":"refs/1.json"}`
	req, err := http.NewRequestWithContext(w.Context(), http.MethodPut, fmt.Sprintf("%s/tokens/%d", w.Gateway, w.Token), strings.NewReader(token))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("the token's reference: %s", resp.Status)
	}
}

func TestATokenIsMadeInTheConsole(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	v := arrive(t, w.Gateway)
	v.presses("Create a line")
	v.presses("Create line")
	v.reads("Enter a name.")
	v.goes(`el.labels?.[0]?.textContent === 'Name'`, "바람이 불어오는 곳")
	v.goes(`el.labels?.[0]?.textContent === 'Actor'`, "하나")
	v.presses("Add a part of the script")
	v.presses("Create line")
	v.reads("Enter the text.")
	v.shoots("token")
	v.goes(`el.labels?.[0]?.textContent === 'Text'`, "바람이 불어오는 곳, 그곳으로 가네")
	v.presses("Create line")
	v.sees(`document.querySelector('input[type=radio]:checked')?.labels[0].textContent.includes('바람이 불어오는 곳')`)
	v.reads("그곳으로 가네")
	v.shoots("token-made")
}

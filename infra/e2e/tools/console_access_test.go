//go:build tools

package tools_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	analyzer "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
)

// axe returns the file of the npm package that finds what people with screen readers, without a mouse or with weak
// eyes cannot use.
var axe = sync.OnceValues(func() ([]byte, error) { return fromNPM("axe-core@4.14.1", "axe.min.js") })

// suits checks the page as it is now with axe. rules is an object of axe's rules to run, or empty for all of WCAG 2.2 AA
// and the best practices.
func (v *visitor) suits(name, rules string) {
	v.t.Helper()
	script, err := axe()
	if err != nil {
		v.t.Fatal(err)
	}
	if rules == "" {
		rules = `{type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}`
	}
	v.do(chromedp.Evaluate[chromedp.Void]("if (!window.axe) {" + string(script) + "\n} undefined"))
	found := evaluate[[]string](v, `axe.run({runOnly: `+rules+`}).then(({violations}) =>
		violations.flatMap(rule => rule.nodes.map(node => rule.id + ': ' + node.html.slice(0, 200) + ' ' + node.failureSummary)))`)
	if len(found) > 0 {
		v.t.Errorf("%s: %s", name, strings.Join(found, "\n"))
	}
}

func TestAxeFindsNothingToMendInTheConsole(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	for range 8 {
		says(t, w, w.Token, strings.Repeat("A line of a long script. ", 30))
	}
	v := arrive(t, w.Gateway)
	v.reads("A line of a long script.")
	v.suits("new", "")
	v.look(phone, "dark")
	v.suits("new, dark", "")
	v.look(desktop, "light")
	v.presses("Create a line")
	v.presses("Add a part of the script")
	v.presses("Create line")
	v.reads("Enter the text.")
	v.suits("a form with errors", "")
	v.presses("Cancel")
	v.presses("Paste a link")
	v.presses("Use this address")
	v.suits("a link", "")
	v.presses("Back")
	v.gives(speechFile(t))
	v.suits("a file", "")
	v.presses("Analyse recording")
	v.reads("Analysis complete")
	v.presses("Raw JSON")
	v.sees(`document.querySelectorAll('.plot canvas').length === 3 && document.querySelector('pre').textContent`)
	v.suits("a result", "")
	v.presses("Delete")
	v.reads("This cannot be undone.")
	v.suits("a dialog", "")
	v.do(chromedp.KeyEvent("\x1b"))
	v.open("/#/jobs")
	v.sees(`document.querySelector('tbody tr')`)
	v.suits("jobs", "")
	v.presses("Failed")
	v.reads("No job matches these filters.")
	v.suits("no jobs", "")
	v.open("/docs")
	v.sees(`document.querySelector('.opblock')`)
	v.suits("the documentation", `{type: 'rule', values: ['landmark-no-duplicate-main', 'landmark-main-is-top-level', 'document-title', 'html-has-lang']}`)
}

// suitsAll checks the page with axe in both languages, on a narrow phone and a desktop, and in both colour schemes.
func (v *visitor) suitsAll(name string) {
	v.t.Helper()
	for _, lang := range []string{"ko", "en"} {
		v.speaks(lang)
		for _, s := range []size{narrowest, desktop} {
			for _, scheme := range []string{"light", "dark"} {
				v.look(s, scheme)
				v.suits(strings.Join([]string{name, lang, s.name, scheme}, ", "), "")
			}
		}
	}
}

func TestAxeFindsNothingToMendInAnUploadAndAtTheEndsOfJobs(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t), Behaviour: analyzer.Behaviour{Fail: true, FailReason: "it is only a beep"}})
	door := w.Proxy(w.Gateway)
	v := arrive(t, door.URL)
	v.loadsFonts()
	v.gives(recorded(t, tooLong))
	held := door.Hold(heldBytes)
	v.presses("Analyse recording")
	<-held
	v.sees(`location.hash.startsWith('#/uploads/') && document.querySelector('[role=progressbar]')`)
	v.suitsAll("an upload")
	door.Restore()
	v.reads("The analysis server could not analyse this recording.")
	v.sees(`document.querySelector('.player')`)
	v.suitsAll("a failed job")
	failed := evaluate[string](v, `location.hash.split('/').pop()`)

	if err := w.Analyzer.Behave(analyzer.Behaviour{Delay: analyzer.Duration(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	canceled := w.Upload(t, "a.wav", loadgen.Tone(220, time.Second))
	cancelJob(t, w, canceled)
	v.open("/#/jobs/" + canceled)
	v.reads("This job was canceled.")
	v.suitsAll("a canceled job")

	harnesstest.Send(t, w.Client, http.MethodDelete, w.Gateway+"/jobs/"+failed)
	v.open("/#/jobs/" + failed)
	v.reads("This job was deleted")
	v.suitsAll("an erased job")
}

func TestAxeFindsNothingToMendInTheSignIn(t *testing.T) {
	t.Parallel()
	settings := withConsole(t)
	settings["AUTH_JWT_SECRET"], settings["OIDC_AUDIENCE"] = signInSecret, signInAudience
	w := harnesstest.Start(t, harnesstest.Options{Settings: settings, Credential: adminToken(t)})
	v := comes(t, w.Gateway)
	v.open("/")
	v.reads("API key")
	v.suitsAll("the sign-in")
}

// spoken is the text of the page's live regions.
const spoken = `[...document.querySelectorAll('[role=status], [role=alert], [aria-live]')].map(el => el.innerText).join('\n')`

func TestAScreenReaderIsToldWhatChangesAndNotEverySecond(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	v := arrive(t, w.Gateway)
	v.goes(`el.type === 'search'`, "nothing like this")
	v.sees(spoken + `.includes('No line matches')`)

	// The player of a chosen file tells its time only to who asks.
	v.open("/#/jobs")
	v.sees(spoken + `.includes('No jobs yet.')`)
	v.open("/#/")
	v.gives(speechFile(t))
	v.sees(spoken + `.includes('speech.flac')`)
	if within := evaluate[int](v, `document.querySelectorAll('[role=status] .player, [aria-live] .player').length`); within != 0 {
		t.Error("the time of the player is in a live region")
	}

	// While it plays, the slider with the focus is silent, and tells where its user moves it.
	v.presses("Use another recording")
	v.gives(given(t, "minute.wav", string(loadgen.Tone(220, time.Minute))))
	v.goes(`el.getAttribute('aria-label') === 'Play'`, "\r")
	v.goes(`el.type === 'range'`, "")
	const slider = `document.querySelector('input[type=range]')`
	v.sees(slider + `.ariaValueText.endsWith(' of 1:00.0')`)
	before := evaluate[string](v, slider+`.ariaValueText`)
	v.sees(slider + `.valueAsNumber > 1`)
	if after := evaluate[string](v, slider+`.ariaValueText`); after != before {
		t.Errorf("the slider says %q, then %q", before, after)
	}
	v.do(chromedp.KeyEvent(kb.End))
	v.sees(slider + `.ariaValueText === '1:00.0 of 1:00.0'`)
	v.presses("Analyse recording")
	v.reads("Analysis complete")
	v.open("/#/jobs")
	v.sees(spoken + `.includes('1 job is shown.')`)
	v.presses("Failed")
	v.sees(spoken + `.includes('No job matches these filters.')`)
}

func TestTheFileChooserOffersWhatPhonesRecord(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	v := arrive(t, w.Gateway)
	for _, ending := range []string{".m4a", ".3gp", ".mov", ".mp4", ".webm", ".amr", ".caf"} { // systems count some of them among videos
		v.sees(`document.querySelector('input[type=file]').accept.split(',').includes('` + ending + `')`)
	}
}

func TestTheConsoleIsReadableInTheColoursOfTheSystem(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	refer(t, w)
	v := arrive(t, w.Gateway)
	for _, scheme := range []string{"light", "dark"} {
		v.prefers(&emulation.MediaFeature{Name: "forced-colors", Value: "active"}, &emulation.MediaFeature{Name: "prefers-color-scheme", Value: scheme})
		v.open("/")
		v.sees(`matchMedia('(forced-colors: active)').matches`)
		v.uploads()
		checkPictures(t, v)
		const background = `(selector => getComputedStyle(document.querySelector(selector)).backgroundColor)`
		v.sees(background + `('.segmented [aria-pressed=true]') !== ` + background + `('.segmented [aria-pressed=false]')`)
		v.sees(background + `('.progress .bar i') !== ` + background + `('.progress .bar')`)
		v.sees(`new Set([...document.querySelectorAll('.legend')].map(el => getComputedStyle(el, '::before').backgroundColor)).size > 2`)
		v.saves("system-colours-" + scheme)
	}
}

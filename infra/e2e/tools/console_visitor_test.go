//go:build tools

package tools_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"sori.internal/infra/internal/harness"
	"sori.internal/shared/testkit"
)

var screenshots = flag.String("screenshots", "", "a folder for pictures of the console's pages")

// builtConsole returns the folder of the built console, which it builds if it is missing or stale.
var builtConsole = sync.OnceValues(func() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	sources, err := harness.ConsoleSources(ctx)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(sources, "dist")
	return dir, harness.BuildConsole(ctx, sources, dir)
})

// withConsole returns the setting with which a gateway serves the console.
func withConsole(t *testing.T) map[string]string {
	t.Helper()
	dir, err := builtConsole()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"CONSOLE_DIR": dir}
}

// visitor simulates a user of the console, with a browser whose language is English and
// a microphone that records a beep every second.
type visitor struct {
	t    *testing.T
	page context.Context
	home string // the gateway's URL for this browser
}

// arrive opens the console in a browser.
func arrive(t *testing.T, home string) *visitor {
	t.Helper()
	v := comes(t, home)
	v.open("/")
	v.sees(`document.querySelector('input[type=radio]:checked')`) // the only token is selected
	return v
}

// comes starts the browser of a visitor, who has not opened a page yet.
func comes(t *testing.T, home string) *visitor {
	t.Helper()
	v := &visitor{t: t, home: home, page: browser(t.Context(), t,
		chromedp.Flag("accept-lang", "en-US"), chromedp.Flag("use-fake-device-for-media-stream", true), chromedp.Flag("use-fake-ui-for-media-stream", true),
		chromedp.Flag("autoplay-policy", "no-user-gesture-required"))}
	v.look(desktop, "light")
	return v
}

// tab opens another tab in the visitor's browser.
func (v *visitor) tab() *visitor {
	v.t.Helper()
	other := &visitor{t: v.t, home: v.home, page: start(v.page, v.t)}
	other.look(desktop, "light")
	return other
}

// speaks switches the console to a language.
func (v *visitor) speaks(lang string) {
	v.t.Helper()
	v.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf("document.querySelector('button[lang=%s]')?.click()", lang)))
	v.sees(fmt.Sprintf("document.documentElement.lang === %q", lang))
}

// loadsFonts loads all fonts of the console, which otherwise are loaded when a page
// needs them. It is for pages that are opened while the server cannot be reached.
func (v *visitor) loadsFonts() {
	v.t.Helper()
	evaluate[bool](v, `Promise.all([...document.fonts].map(font => font.load())).then(() => true)`)
}

// step returns the page for one step, which fails if it takes longer than any step of a large upload.
func (v *visitor) step() (page context.Context, end context.CancelFunc) {
	return context.WithTimeout(v.page, 2*largePatience())
}

// lookLimit is the time limit for the check of an expression in a page. A page that the browser is leaving may not
// respond at all.
const lookLimit = 10 * time.Second

func (v *visitor) do(steps ...chromedp.Action[chromedp.Void]) {
	v.t.Helper()
	page, end := v.step()
	defer end()
	if err := chromedp.Do(page, steps...); err != nil {
		v.t.Fatal(err)
	}
}

func (v *visitor) open(path string) {
	v.t.Helper()
	v.do(chromedp.Navigate(v.home + path))
}

// leaves calls the function by, which makes the browser load another document, and waits for that document. A script
// that runs while the browser changes the document would fail.
func (v *visitor) leaves(by func()) {
	v.t.Helper()
	v.do(chromedp.Evaluate[chromedp.Void](`window.isLeft = true`))
	by()
	v.sees(`!window.isLeft`)
}

// goesBack goes back in the history of the browser, to another document.
func (v *visitor) goesBack() {
	v.t.Helper()
	v.leaves(func() { v.do(chromedp.Evaluate[chromedp.Void](`setTimeout(() => history.back())`)) })
}

// evaluate returns the value of an expression in a visitor's page.
func evaluate[T any](v *visitor, expression string) T {
	v.t.Helper()
	page, end := v.step()
	defer end()
	value, err := chromedp.Run(page, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		v.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// sees waits until an expression is true in the page. It goes on waiting after a reload.
func (v *visitor) sees(expression string) {
	v.t.Helper()
	testkit.Eventually(v.t, func() error {
		page, end := context.WithTimeout(v.page, lookLimit)
		defer end()
		ok, err := chromedp.Run(page, chromedp.Evaluate[bool]("!!("+expression+")"))
		if err == nil && !ok {
			text, _ := chromedp.Run(page, chromedp.Evaluate[string]("location.href + '\\n' + document.body.innerText"))
			err = fmt.Errorf("%s is not so at %s", expression, text)
		}
		return err
	})
}

// reads waits until the page's text contains the words.
func (v *visitor) reads(words string) {
	v.t.Helper()
	v.sees(fmt.Sprintf("document.body.innerText.includes(%q)", words))
}

// goes presses Tab until the expression is true for the focused element el, and then
// presses the keys.
func (v *visitor) goes(el string, keys string) {
	v.t.Helper()
	for range 80 {
		if evaluate[bool](v, fmt.Sprintf("(el => el !== document.body && !!(%s))(document.activeElement)", el)) {
			v.do(chromedp.KeyEvent(keys))
			return
		}
		v.do(chromedp.KeyEvent("\t"))
	}
	v.t.Fatalf("the key Tab does not lead to %s", el)
}

// presses moves the focus to the button or link with the text, and presses Enter.
func (v *visitor) presses(words string) {
	v.t.Helper()
	v.sees(fmt.Sprintf("[...document.querySelectorAll('button, a, summary')].some(el => el.textContent.trim() === %q)", words))
	v.goes(fmt.Sprintf("el.textContent.trim() === %q", words), "\r")
}

// gives selects a file for the upload.
func (v *visitor) gives(file string) {
	v.t.Helper()
	v.do(chromedp.SetUploadFiles(chromedp.CSS("input[type=file]"), []string{file}))
	v.reads("Ready to analyse")
	v.sees(`document.querySelector('input[type=radio]:checked')`) // the only token, or the one of the last upload
}

// bar returns the value of the progress bar, or -1 if there is none.
func (v *visitor) bar() int {
	v.t.Helper()
	return evaluate[int](v, `+(document.querySelector('[role=progressbar]')?.getAttribute('aria-valuenow') ?? -1)`)
}

type size struct {
	name          string
	width, height int64
	scale         float64
}

var (
	desktop = size{"desktop", 1280, 900, 1}
	phone   = size{"phone", 390, 844, 2}
	narrow  = size{"narrow phone", 360, 740, 2}

	// narrowest is a small phone, or a window of 1280 pixels whose page is enlarged to 400 %.
	narrowest = size{"narrowest phone", 320, 640, 1}
)

// look changes the size of the visitor's screen and the colour scheme.
func (v *visitor) look(s size, scheme string) {
	v.t.Helper()
	v.do(chromedp.EmulateViewport(s.width, s.height, chromedp.EmulateScale(s.scale)))
	v.prefers(&emulation.MediaFeature{Name: "prefers-color-scheme", Value: scheme}, &emulation.MediaFeature{Name: "prefers-reduced-motion", Value: "reduce"})
}

// prefers changes what the visitor's system tells pages about its user.
func (v *visitor) prefers(features ...*emulation.MediaFeature) {
	v.t.Helper()
	page, end := v.step()
	defer end()
	if _, err := chromedp.Call(page, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features}); err != nil {
		v.t.Fatal(err)
	}
}

// shoots checks that the page is not wider than the screen, in both languages if the page
// has them. It saves screenshots if a flag requests them.
func (v *visitor) shoots(name string) {
	v.t.Helper()
	defer v.look(desktop, "light")
	if !evaluate[bool](v, "document.querySelector('button[lang]') !== null") {
		v.shootsIn(name)
		return
	}
	spoken := evaluate[string](v, "document.documentElement.lang")
	for _, lang := range []string{"ko", "en"} {
		v.speaks(lang)
		v.shootsIn(name + "-" + lang)
	}
	v.speaks(spoken)
}

func (v *visitor) shootsIn(name string) {
	v.t.Helper()
	for _, s := range []size{narrow, phone, desktop} {
		for _, scheme := range []string{"dark", "light"} {
			if scheme == "dark" && s != desktop {
				continue // colours do not depend on the width
			}
			v.look(s, scheme)
			evaluate[bool](v, `new Promise(done => document.fonts.ready.then(() => requestAnimationFrame(() => requestAnimationFrame(() => done(true)))))`)
			if wide := evaluate[int64](v, `document.documentElement.scrollWidth`); wide > s.width {
				v.t.Errorf("%s is %d pixels wide on a %s of %d", name, wide, s.name, s.width)
			}
			if s != narrow {
				v.saves(strings.Join([]string{name, s.name, scheme}, "-"))
			}
		}
	}
}

// saves saves a screenshot of the page, if a flag requests that.
func (v *visitor) saves(name string) {
	v.t.Helper()
	if *screenshots == "" {
		return
	}
	picture, err := chromedp.Run(v.page, chromedp.FullScreenshot(100))
	if err != nil {
		v.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*screenshots, name+".png"), picture, 0o600); err != nil {
		v.t.Fatal(err)
	}
}

//go:build tools

package e2e_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	analyzer "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/tone"
	"sori.internal/infra/internal/world"
	"sori.internal/shared/testkit"
	"sori.internal/shared/testkit/contract"
)

var docsPictures = flag.String("docs-pictures", "", "a folder for pictures of the documentation")

// manual is the documentation in a browser, and what the browser noticed.
type manual struct {
	t    *testing.T
	page context.Context

	mu     sync.Mutex
	abroad []string // requests to other hosts
}

// openManual opens the documentation.
func openManual(t *testing.T, w *world.World) *manual {
	t.Helper()
	m := &manual{t: t, page: browser(w.Context(), t)}
	m.do(chromedp.Navigate("about:blank"))
	err := chromedp.Listen(m.page, func(ev any) {
		sent, ok := ev.(*network.EventRequestWillBeSent)
		if ok && !strings.HasPrefix(sent.Request.URL, w.Gateway+"/") && !strings.HasPrefix(sent.Request.URL, "data:") {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.abroad = append(m.abroad, sent.Request.URL)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(m.page, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	m.do(chromedp.Navigate(w.Gateway + "/docs"))
	return m
}

func (m *manual) do(steps ...chromedp.Action[chromedp.Void]) {
	m.t.Helper()
	if err := chromedp.Do(m.page, steps...); err != nil {
		m.t.Fatal(err)
	}
}

// shows is the value of an expression in the page.
func shows[T any](m *manual, expression string) T {
	m.t.Helper()
	value, err := chromedp.Run(m.page, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		m.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// until waits until an expression is true in the page.
func (m *manual) until(expression string) {
	m.t.Helper()
	testkit.Eventually(m.t, func() error {
		if !shows[bool](m, "!!("+expression+")") {
			return fmt.Errorf("%s is not so: %.2000s", expression, shows[string](m, "document.body.innerText"))
		}
		return nil
	})
}

// operation is the element that shows an operation.
func operation(id string) string { return fmt.Sprintf("document.querySelector('[id$=-%s]')", id) }

// turn opens an operation, or closes it.
func (m *manual) turn(id string) {
	m.t.Helper()
	shows[bool](m, operation(id)+".querySelector('.opblock-summary-control').click() ?? true")
}

// try runs the example of an operation as it stands, and returns the answer's status.
func (m *manual) try(id string) string {
	m.t.Helper()
	at := operation(id)
	m.turn(id)
	m.until(at + ".querySelector('.try-out__btn')")
	shows[bool](m, at+".querySelector('.try-out__btn').click() ?? true")
	m.until(at + ".querySelector('.execute')")
	m.until("[..." + at + ".querySelectorAll('tr:has(.required)')].every(row => row.querySelector('input')?.value)") // the page fills them in
	shows[bool](m, at+".querySelector('.execute').click() ?? true")
	m.until(at + ".querySelector('.live-responses-table .response-col_status')")
	return shows[string](m, at+".querySelector('.live-responses-table tbody .response-col_status').innerText.trim()")
}

func TestTheDocumentationShowsAndRunsEverythingWithoutOtherHosts(t *testing.T) {
	t.Parallel()
	w := world.Start(t, world.Options{Behaviour: analyzer.Behaviour{Instant: true}})
	checkStages(t, w.Follow(w.Context(), t, w.Upload(t, "a.wav", tone.WAV(220, time.Second)), "en"))
	m := openManual(t, w)
	said := chromedp.Console(m.page)
	m.do(chromedp.Reload())
	m.until("document.querySelectorAll('.opblock').length > 0")
	shown := shows[[]string](m, `[...document.querySelectorAll('.opblock')].map(o =>
		o.querySelector('.opblock-summary-method').innerText + ' ' + o.querySelector('[data-path]').dataset.path.replace(/(?<=.)\/$/, ''))`)
	for _, o := range operations(t, w) {
		if !slices.Contains(shown, o) {
			t.Errorf("%s is not shown", o)
		}
	}
	if !slices.Contains(shown, "POST analysis") {
		t.Errorf("the webhook is not shown: %q", shown)
	}
	m.pictures("docs")
	if got := m.try("getResult"); got != "200" {
		t.Errorf("the example of getResult is answered with %s", got)
	}
	m.pictures("docs-tried")
	for id, want := range map[string]string{
		"listJobs": "200", "listTokens": "200", "getToken": "200", "createToken": "201", "createScript": "201",
		"listTokenScripts": "200", "createActor": "201", "searchActors": "200", "getReady": "200", "getDocument": "200",
	} {
		if got := m.try(id); got != want {
			t.Errorf("the example of %s is answered with %s", id, got)
		}
		m.turn(id)
	}
	if errs := shows[string](m, "[...document.querySelectorAll('.errors-wrapper')].map(e => e.innerText).join()"); errs != "" {
		t.Errorf("the page shows %s", errs)
	}
	shows[bool](m, "console.log('that is all') ?? true")
	for message, err := range said {
		if err != nil {
			t.Fatal(err)
		}
		if message.Text == "that is all" {
			break
		}
		if message.IsException() || message.Type == chromedp.ConsoleError || message.Source == "security" {
			t.Errorf("the page says %s (%s)", message, message.URL)
		}
	}
	if len(m.abroad) > 0 {
		t.Errorf("the page asks other hosts: %q", m.abroad)
	}
}

// operations are what the document has.
func operations(t *testing.T, w *world.World) []string {
	t.Helper()
	return w.Client.Transport.(*contract.Transport).Document.Operations()
}

// tooWide are the elements that reach beyond the screen.
const tooWide = `document.documentElement.scrollWidth <= innerWidth ? [] :
	[...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > innerWidth).map(e => e.tagName + '.' + e.className).slice(0, 20)`

// pictures keeps what the page looks like, where that is asked for, and sees to it
// that nothing is wider than the screen.
func (m *manual) pictures(name string) {
	m.t.Helper()
	for screen, width := range map[string]int64{"desktop": 1280, "phone": 390} {
		for _, scheme := range []string{"light", "dark"} {
			m.do(chromedp.EmulateViewport(width, 900))
			_, err := chromedp.Call(m.page, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
			})
			if err != nil {
				m.t.Fatal(err)
			}
			m.until(fmt.Sprintf("document.documentElement.classList.contains('dark-mode') === %t", scheme == "dark"))
			shows[bool](m, "Promise.allSettled(document.getAnimations().map(a => a.finished)).then(() => true)")
			if wide := shows[[]string](m, tooWide); len(wide) > 0 {
				m.t.Errorf("%s is wider than a %s of %d: %q", name, screen, width, wide)
			}
			if *docsPictures == "" {
				continue
			}
			picture, err := chromedp.Run(m.page, chromedp.FullScreenshot(100))
			if err != nil {
				m.t.Fatal(err)
			}
			file := filepath.Join(*docsPictures, strings.Join([]string{name, screen, scheme}, "-")+".png")
			if err := os.WriteFile(file, picture, 0o600); err != nil {
				m.t.Fatal(err)
			}
		}
	}
}

func TestTheFilesOfTheDocumentationAreThoseOfNPM(t *testing.T) {
	t.Parallel()
	dir, ours := t.TempDir(), "../../services/gateway/internal/api/docs"
	output(t.Context(), t, "../../services/gateway/internal/api/docs.sh", dir)
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		t.Fatalf("%d files, %v", len(entries), err)
	}
	for _, e := range entries {
		fetched, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if kept, err := os.ReadFile(filepath.Join(ours, e.Name())); err != nil || string(kept) != string(fetched) {
			t.Errorf("%s is not that of the package, %v", e.Name(), err)
		}
	}
}

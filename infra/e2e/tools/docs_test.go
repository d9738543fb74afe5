//go:build tools

package tools_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	analyzer "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/shared/testkit/contract"
)

// readDocs opens the documentation in a browser. It sends the URLs of requests to hosts other than the gateway to the
// channel abroad; there should be none.
func readDocs(t *testing.T, w *harnesstest.Env, abroad chan<- string) *visitor {
	t.Helper()
	v := &visitor{t: t, page: browser(t.Context(), t), home: w.Gateway}
	v.do(chromedp.Navigate("about:blank"))
	err := chromedp.Listen(v.page, func(ev any) {
		sent, ok := ev.(*network.EventRequestWillBeSent)
		if !ok || strings.HasPrefix(sent.Request.URL, w.Gateway+"/") || strings.HasPrefix(sent.Request.URL, "data:") {
			return
		}
		select {
		case abroad <- sent.Request.URL:
		default:
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(v.page, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	return v
}

// operation returns a JavaScript expression for the element of an operation.
func operation(id string) string { return fmt.Sprintf("document.querySelector('[id$=-%s]')", id) }

// turns opens or closes the element of an operation.
func (v *visitor) turns(id string) {
	v.t.Helper()
	evaluate[bool](v, operation(id)+".querySelector('.opblock-summary-control').click() ?? true")
}

// tries executes an operation with its example unchanged, and returns the status of the answer.
func (v *visitor) tries(id string) string {
	v.t.Helper()
	at := operation(id)
	v.turns(id)
	v.sees(at + ".querySelector('.try-out__btn')")
	evaluate[bool](v, at+".querySelector('.try-out__btn').click() ?? true")
	v.sees(at + ".querySelector('.execute')")
	v.sees("[..." + at + ".querySelectorAll('tr:has(.required)')].every(row => row.querySelector('input')?.value)") // the page has filled in the required parameters
	evaluate[bool](v, at+".querySelector('.execute').click() ?? true")
	v.sees(at + ".querySelector('.live-responses-table .response-col_status')")
	return evaluate[string](v, at+".querySelector('.live-responses-table tbody .response-col_status').innerText.trim()")
}

func TestTheDocumentationShowsAndRunsEverythingWithoutOtherHosts(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Behaviour: analyzer.Behaviour{Instant: true}})
	harnesstest.CheckFrames(t, w.Follow(w.Context(), t, w.Upload(t, "a.wav", loadgen.Tone(220, time.Second)), "en"))
	abroad := make(chan string, 10)
	v := readDocs(t, w, abroad)
	said := chromedp.Console(v.page)
	v.open("/docs")
	v.sees("document.querySelectorAll('.opblock').length > 0")
	shown := evaluate[[]string](v, `[...document.querySelectorAll('.opblock')].map(o =>
		o.querySelector('.opblock-summary-method').innerText + ' ' + o.querySelector('[data-path]').dataset.path.replace(/(?<=.)\/$/, ''))`)
	for _, o := range operations(t, w) {
		if !slices.Contains(shown, o) {
			t.Errorf("%s is not shown", o)
		}
	}
	if !slices.Contains(shown, "POST analysis") {
		t.Errorf("the webhook is not shown: %q", shown)
	}
	v.shoots("docs")
	if got := v.tries("getResult"); got != "200" {
		t.Errorf("the example of getResult is answered with %s", got)
	}
	v.shoots("docs-tried")
	for id, want := range map[string]string{
		"listJobs": "200", "listTokens": "200", "getToken": "200", "createToken": "201", "createScript": "201",
		"listTokenScripts": "200", "createActor": "201", "searchActors": "200", "getReady": "200", "getDocument": "200",
	} {
		if got := v.tries(id); got != want {
			t.Errorf("the example of %s is answered with %s", id, got)
		}
		v.turns(id)
	}
	if errs := evaluate[string](v, "[...document.querySelectorAll('.errors-wrapper')].map(e => e.innerText).join()"); errs != "" {
		t.Errorf("the page shows %s", errs)
	}
	evaluate[bool](v, "console.log('that is all') ?? true")
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
	for len(abroad) > 0 {
		t.Errorf("the page asks %s", <-abroad)
	}
}

// operations returns the operations of the document.
func operations(t *testing.T, w *harnesstest.Env) []string {
	t.Helper()
	return w.Client.Transport.(*contract.Transport).Document.Operations()
}

func TestTheFilesOfTheDocumentationAreThoseOfNPM(t *testing.T) {
	t.Parallel()
	dir, ours := t.TempDir(), "../../../services/gateway/internal/web/docs"
	output(t.Context(), t, "../../../services/gateway/internal/web/docs.sh", dir)
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

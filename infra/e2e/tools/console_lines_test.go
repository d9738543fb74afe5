//go:build tools

package tools_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"sori.internal/infra/internal/harness/harnesstest"
)

// says adds a script to a token.
func says(t *testing.T, w *harnesstest.Env, token int64, script string) {
	t.Helper()
	body := fmt.Sprintf(`{"token_id":%d,"start_time":0,"end_time":1,"script":%q}`, token, script)
	resp, err := w.Client.Post(w.Gateway+"/scripts/", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusMultipleChoices {
		t.Fatalf("the script: %s", resp.Status)
	}
}

func TestTheLineOfAnAddressIsChosen(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	first := w.Token
	for range 55 {
		w.NewToken(t)
	}
	last := w.NewToken(t) // a token that is not in the list, which shows only the first ones
	says(t, w, first, "The first line of all.")
	says(t, w, last, "What the last line says.")
	b := stands(t, w.Gateway)
	v := comes(t, b.url)
	v.open(fmt.Sprintf("/#/?token=%d", last))
	v.reads("What the last line says.")

	// A search that was typed does not hide the line of another address.
	v.goes(`el.type === 'search'`, "no such line")
	v.reads("No line matches")
	v.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`location.hash = '#/?token=%d'`, first)))
	v.reads("The first line of all.")
	v.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`location.hash = '#/?token=%d'`, last)))
	v.reads("What the last line says.")

	// The script of another line is never shown, even before the script of the selected line has arrived.
	held, release := make(chan struct{}, 100), make(chan struct{})
	v.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`location.hash = '#/?token=%d'`, first)))
	v.reads("The first line of all.")
	v.sees(`!document.body.innerText.includes('What the last line says.')`)
	b.answers(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/tokens/") && r.URL.Path != "/tokens/" {
			held <- struct{}{}
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
		b.next.ServeHTTP(rw, r)
	})
	v.do(chromedp.Evaluate[chromedp.Void](`[...document.querySelectorAll('input[type=radio]')].find(el => !el.checked).click()`))
	<-held
	v.sees(`!document.body.innerText.includes('The first line of all.')`)
	close(release)

	// If the address names a line that does not exist, no line is selected.
	b.answers(nil)
	v.open("/#/?token=987654321")
	v.do(chromedp.Reload())
	v.sees(`document.querySelectorAll('input[type=radio]').length >= 50 && !document.querySelector('input[type=radio]:checked')`)
}

func TestALongScriptLeavesTheRecordingWithinReachOnAPhone(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	for i := range 60 {
		says(t, w, w.Token, fmt.Sprintf("Line %d of a long script, שורה ארוכה.", i))
	}
	v := arrive(t, w.Gateway)
	v.look(phone, "light")
	v.reads("Line 59 of a long script")
	if screens := evaluate[float64](v, `document.querySelector('.drop').getBoundingClientRect().top / innerHeight`); screens > 2.5 {
		t.Errorf("the recording comes after %.1f screens", screens)
	}
}

func TestTheScriptOfANewLineIsSavedAgainAfterItsAnswerWasLost(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	v := arrive(t, w.Gateway)
	v.presses("Create a line")
	v.goes(`el.labels?.[0]?.textContent === 'Name'`, "a")
	v.goes(`el.labels?.[0]?.textContent === 'Actor'`, "b")
	v.presses("Add a part of the script")
	v.goes(`el.labels?.[0]?.textContent === 'Text'`, "read me")
	v.do(chromedp.Evaluate[chromedp.Void](`(() => {
		const real = fetch;
		window.fetch = async (url, init) => {
			const answer = await real(url, init);
			if (String(url).endsWith('/scripts/')) {
				window.fetch = real;
				throw new TypeError('the connection broke');
			}
			return answer;
		};
	})()`))
	v.presses("Create line")
	v.reads("The line was created, but its script could not be saved.")
	v.shoots("script-not-saved")
	v.presses("Try again")
	v.sees(`document.querySelector('input[type=radio]:checked')?.labels[0].textContent.includes('b')`)
	v.sees(`[...document.querySelectorAll('.script li')].filter(li => li.textContent.includes('read me')).length === 1`)
}

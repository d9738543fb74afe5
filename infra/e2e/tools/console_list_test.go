//go:build tools

package tools_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
)

func TestTheWayBackToTheListLeadsToTheJobThatWasOpened(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	for i := range 60 {
		w.Upload(t, fmt.Sprintf("%d.wav", i), loadgen.Tone(200+float64(i), 100*time.Millisecond))
	}
	v := comes(t, w.Gateway)
	v.open("/#/jobs")
	v.sees(`document.querySelectorAll('tbody tr').length === 50`)
	v.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('.row.center button').click()`))
	v.sees(`document.querySelectorAll('tbody tr').length === 60`)
	address := evaluate[string](v, `document.querySelectorAll('tbody th a')[55].getAttribute('href')`)
	v.do(chromedp.Evaluate[chromedp.Void](`document.querySelectorAll('tbody th a')[55].focus()`))
	v.do(chromedp.KeyEvent("\r"))
	v.reads("Analysis complete")
	v.do(chromedp.NavigateBack())
	v.sees(fmt.Sprintf(`document.activeElement.getAttribute('href') === %q`, address))
	v.sees(`document.querySelectorAll('tbody tr').length === 60`)
	v.sees(`(r => r.top > 60 && r.bottom < innerHeight)(document.activeElement.getBoundingClientRect())`)

	// Another list begins anew.
	v.presses("Jobs")
	v.presses("Failed")
	v.reads("No job matches these filters.")
	v.presses("All")
	v.sees(`document.querySelectorAll('tbody tr').length === 50`)
}

// steadily keeps the list of a page from asking again by itself.
const steadily = `(() => {
	const real = setTimeout;
	window.setTimeout = (work, ms, ...rest) => ms === 15_000 ? 0 : real(work, ms, ...rest);
})()`

func TestTheListIsLoadedAsSoonAsTheBrowserIsOnline(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	job := w.Upload(t, "a.wav", loadgen.Tone(220, time.Second))
	awaits(t, w, job, "completed", 100)
	door := w.Proxy(w.Gateway)
	v := arrive(t, door.URL)
	v.do(chromedp.Evaluate[chromedp.Void](steadily))
	door.Cut()
	v.do(chromedp.Evaluate[chromedp.Void]("location.hash = '#/jobs'"))
	v.reads("The server cannot be reached.")
	door.Restore()
	v.do(chromedp.Evaluate[chromedp.Void](`dispatchEvent(new Event('online'))`))
	v.sees(`document.querySelector('tbody tr')?.innerText.includes('a.wav')`)
}

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

//go:build tools

package tools_test

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
)

func TestNamesOfAnyFormAreShownAsTheyAre(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	v := arrive(t, w.Gateway)
	names := map[string]string{ // names by their writing direction
		"تسجيل 1.wav":                              "rtl",
		"<img src=x onerror=\"alert(1)\">.wav":     "ltr",
		"a" + strings.Repeat("너무긴이름", 15) + ".wav": "ltr",
	}
	for name, direction := range names {
		v.open("/#/")
		v.gives(given(t, name, string(loadgen.Tone(220, time.Second))))
		v.presses("Analyse recording")
		v.reads("Analysis complete")
		v.sees(`document.querySelector('h1')?.textContent.endsWith('.wav')`)
		if got := evaluate[string](v, `getComputedStyle(document.querySelector('h1 > *') ?? document.querySelector('h1')).direction`); got != direction {
			t.Errorf("%s is written %s", name, got)
		}
		if shown := evaluate[string](v, `document.querySelector('h1').textContent`); shown != name {
			t.Errorf("%q is shown as %q", name, shown)
		}
	}
	v.shoots("a-long-name")
	v.open("/#/jobs")
	v.sees(`document.querySelectorAll('tbody tr').length === 3`)
	v.shoots("odd-names")
	v.open("/#/")
	v.do(chromedp.SetUploadFiles(chromedp.CSS("input[type=file]"), []string{given(t, "تسجيل.wav", "")}))
	v.reads("“\u2068تسجيل.wav\u2069” is empty.")
}

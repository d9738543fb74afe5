//go:build tools

package tools_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	analyzer "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
)

func TestTheStagesOfAJobStandApartOnANarrowPhone(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t), Behaviour: analyzer.Behaviour{Delay: analyzer.Duration(time.Hour)}})
	v := arrive(t, w.Gateway)
	v.look(narrowest, "light")
	v.open("/#/jobs/" + w.Upload(t, "a.wav", loadgen.Tone(220, time.Second)))
	v.sees(`document.querySelectorAll('.stages li').length > 0`)
	for _, lang := range []string{"ko", "en"} {
		v.speaks(lang)
		gaps := evaluate[[]float64](v, `(stages => stages.slice(1).map((stage, i) => {
			const [before, after] = [stages[i], stage].map(el => {
				const range = document.createRange();
				range.selectNodeContents(el);
				return range.getBoundingClientRect();
			});
			return after.left - before.right;
		}))([...document.querySelectorAll('.stages li')])`)
		for i, gap := range gaps {
			if gap < 4 {
				t.Errorf("%s: there are %v pixels between the stages %d and %d", lang, gap, i, i+1)
			}
		}
	}
}

func TestTheHeaderHidesNothingThatHasTheFocus(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	v := arrive(t, w.Gateway)
	hidden := fmt.Sprintf(`((el, top) => el === document.body || el.closest('.top, .skip') || el.getBoundingClientRect().top >= top.bottom - 1
		? '' : %s)(document.activeElement, document.querySelector('.top').getBoundingClientRect())`, "(el.textContent || el.type).slice(0, 40)")
	for _, s := range []size{{"page enlarged to 400 %", 320, 256, 1}, {"phone on its side", 740, 360, 1}, {"low window", 1280, 460, 1}} {
		for _, path := range []string{"/#/", "/#/jobs"} {
			v.look(s, "light")
			v.open(path)
			v.sees(`document.querySelector('h1')`)
			for _, back := range []bool{false, true} {
				for range 30 {
					v.do(tab(back))
					if what := evaluate[string](v, hidden); what != "" {
						t.Errorf("%s on a %s: the header hides %s", path, s.name, what)
					}
				}
			}
		}
	}
}

// tab presses the key Tab, or with it the shift key.
func tab(back bool) chromedp.Action[chromedp.Void] {
	if back {
		return chromedp.KeyEvent("\t", chromedp.KeyModifiers(chromedp.ModifierShift))
	}
	return chromedp.KeyEvent("\t")
}

//go:build tools

package tools_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
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

func TestTheListOfJobsIsWholeInAWindowOfAnyWidth(t *testing.T) {
	t.Parallel()
	busy := analyzer.Behaviour{RejectStatus: http.StatusServiceUnavailable, RejectRetryAfter: analyzer.Duration(time.Hour)}
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t), Behaviour: busy})
	v := arrive(t, w.Gateway)
	w.Upload(t, strings.Repeat("긴이름", 26)+".wav", loadgen.Tone(220, time.Second))
	v.open("/#/jobs")
	for _, lang := range []string{"ko", "en"} {
		v.speaks(lang)
		v.sees(`['대기', 'waiting'].includes(document.querySelector('tbody .small .time')?.textContent)`)
		for _, width := range []int64{320, 600, 621, 640, 700, 760, 820, 900, 901, 1024} {
			v.look(size{"window", width, 800, 1}, "light")
			if cut := evaluate[int](v, `(table => table.scrollWidth - table.clientWidth)(document.querySelector('.table'))`); cut > 0 {
				t.Errorf("%s: %d pixels of the list are cut off in a window of %d", lang, cut, width)
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

func TestAPrintedResultIsWholeAndDark(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	v := arrive(t, w.Gateway)
	v.uploads()
	v.sees(`document.querySelectorAll('.plot canvas').length === 3`)
	v.do(chromedp.Evaluate[chromedp.Void](`document.documentElement.dataset.theme = 'dark'`))

	// A browser lays a page out for the paper without telling it: the charts are as they were drawn for the screen.
	paper := size{"sheet of paper", 718, 1000, 1}
	v.do(chromedp.Evaluate[chromedp.Void](`document.querySelectorAll('.plot').forEach(plot => plot.replaceWith(plot.cloneNode(true)))`)) // no script draws the copies again
	v.do(chromedp.EmulateViewport(paper.width, paper.height))
	page, end := v.step()
	defer end()
	if _, err := chromedp.Call(page, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"}); err != nil {
		t.Fatal(err)
	}
	v.sees(`matchMedia('print').matches`)
	if cut := evaluate[float64](v, `Math.max(...[...document.querySelectorAll('.plot canvas')].map(el => el.getBoundingClientRect().right - el.closest('.plot').getBoundingClientRect().right))`); cut > 0 {
		t.Errorf("%v pixels of the charts are cut off", cut)
	}
	for _, control := range []string{".top", ".actions", ".player", ".downloads", ".raw"} {
		v.sees(`[...document.querySelectorAll('` + control + `')].every(el => el.getClientRects().length === 0)`)
	}
	if colour := evaluate[string](v, `getComputedStyle(document.querySelector('h1')).color`); !strings.HasPrefix(colour, "rgb(23, 33") {
		t.Errorf("the ink is %s", colour)
	}
	v.saves("printed")
}

//go:build tools

package tools_test

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	analyzer "sori.internal/infra/analyzer/app"
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

func TestALongNameStaysInsideItsFrameOnANarrowPhone(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	door := w.Proxy(w.Gateway)
	v := arrive(t, door.URL)
	v.loadsFonts()
	v.look(narrowest, "light")
	inside := func(frame, content string) {
		t.Helper()
		v.sees(`document.querySelector('` + content + `')`)
		reach := evaluate[[]float64](v, `[...document.querySelectorAll('`+content+`')].map(el => {
			const range = document.createRange();
			range.selectNodeContents(el);
			return range.getBoundingClientRect().right - el.closest('`+frame+`').getBoundingClientRect().right;
		})`)
		if farthest := slices.Max(reach); farthest > 0 {
			t.Errorf("%s reaches %v pixels out of %s", content, farthest, frame)
		}
	}
	v.gives(given(t, strings.Repeat("긴이름", 26)+".wav", string(loadgen.Tone(220, time.Minute))))
	inside(".card", ".chosen .name")
	inside(".card", ".chosen .time")
	held := door.Hold(400 << 10)
	v.presses("Analyse recording")
	<-held
	v.do(chromedp.Evaluate[chromedp.Void]("location.hash = '#/'"))
	inside(".note", ".note p")
	door.Restore()
}

func TestALongNameLeavesTheProgressOnTheScreenOfAPhone(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t), Behaviour: analyzer.Behaviour{Delay: analyzer.Duration(time.Hour)}})
	door := w.Proxy(w.Gateway)
	v := arrive(t, door.URL)
	v.loadsFonts()
	v.look(narrowest, "light")
	// A file system may have no file with such a name, but some have, and pages make files of any name.
	v.do(chromedp.Evaluate[chromedp.Void](`(() => {
		const chunk = new Uint8Array(` + strconv.Itoa(tooLong) + `);
		chunk.set(Uint8Array.from(atob('` + base64.StdEncoding.EncodeToString(loadgen.Tone(220, time.Second)[:1000]) + `'), c => c.charCodeAt(0)));
		const data = new DataTransfer();
		data.items.add(new File([chunk], '긴이름'.repeat(100) + '.wav'));
		document.querySelector('.drop').dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true}));
	})()`))
	v.reads("Ready to analyse")
	held := door.Hold(heldBytes)
	v.presses("Analyse recording")
	<-held
	const bar = `document.querySelector('[role=progressbar]').getBoundingClientRect().bottom < innerHeight`
	v.sees(`location.hash.startsWith('#/uploads/') && ` + bar)
	door.Restore()
	v.sees(`location.hash.startsWith('#/jobs/') && document.querySelector('h1').textContent.length > 200 && ` + bar)
	v.sees(`document.querySelector('h1').title === document.querySelector('h1').textContent`)
}

func TestTheTimesOfALineAreInOrderBesideANameFromRightToLeft(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	token := `{"token_name":"שלום עולם","actor_name":"مرحبا","category":"שיר","start_time":0,"end_time":2}`
	resp, err := w.Client.Post(w.Gateway+"/tokens/", "application/json", strings.NewReader(token))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	v := comes(t, w.Gateway)
	v.open("/#/")
	v.sees(`[...document.querySelectorAll('.token')].some(el => el.innerText.includes('שלום'))`)
	order := `(() => {
	  const text = [...document.querySelectorAll('.token')].find(el => el.innerText.includes('שלום')).querySelector('.about').firstChild;
	  const left = (words) => {
	    const range = document.createRange();
	    range.setStart(text, text.data.indexOf(words));
	    range.setEnd(text, text.data.indexOf(words) + words.length);
	    return range.getBoundingClientRect().left;
	  };
	  return [left('مرحبا'), left('שיר'), left('0:00.0'), left('0:02.0')];
	})()`
	if at := evaluate[[]float64](v, order); !slices.IsSorted(at) {
		t.Errorf("the actor, the category, the start and the end are at %v", at)
	}
}

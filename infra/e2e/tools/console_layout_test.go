//go:build tools

package tools_test

import (
	"testing"
	"time"

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

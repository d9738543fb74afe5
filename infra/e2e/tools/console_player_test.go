//go:build tools

package tools_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	analyzer "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
)

func TestARecordingThatDoesNotTellItsLengthIsPlayedFromWhereItsUserWants(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	v := arrive(t, w.Gateway)
	file, err := filepath.Abs("../../../shared/media/testdata/live.webm")
	if err != nil {
		t.Fatal(err)
	}
	const slider = `document.querySelector('.player input[type=range]')`
	// The slider has the duration that shared/media finds; before that its maximum is 1.
	const known = `Math.abs(` + slider + `?.max - 0.75) < 0.05`
	v.gives(file)
	v.sees(known + ` && ` + slider + `.value === '0'`)
	v.presses("Analyse recording")
	v.reads("Analysis complete")
	v.sees(known)
	other := arrive(t, w.Gateway) // this visitor gets the recording from the server
	other.open("/" + evaluate[string](v, "location.hash"))
	other.sees(known)
}

func TestNoRecordingIsShownOfAJobThatHasNone(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t), Behaviour: analyzer.Behaviour{Delay: analyzer.Duration(time.Hour)}})
	b := stands(t, w.Gateway)
	v := arrive(t, b.url)
	job := w.Upload(t, "a.wav", loadgen.Tone(220, time.Second))
	cancelJob(t, w, job)
	answered := make(chan struct{}, 100)
	b.answers(func(rw http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/audio") {
			b.next.ServeHTTP(rw, r)
			return
		}
		rw.WriteHeader(http.StatusNotFound) // as of a job that was canceled before its recording was stored
		answered <- struct{}{}
	})
	v.open("/#/jobs/" + job)
	v.reads("This job was canceled.")
	<-answered
	v.sees(`!document.querySelector('.recorded')`)
}

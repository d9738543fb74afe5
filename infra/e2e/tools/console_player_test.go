//go:build tools

package tools_test

import (
	"path/filepath"
	"testing"

	"sori.internal/infra/internal/harness/harnesstest"
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

//go:build tools

package tools_test

import (
	"testing"

	"sori.internal/infra/internal/harness/harnesstest"
)

// inStep is true if the focus is in the step of a new analysis that adds a recording.
const inStep = `document.activeElement.closest('section')?.getAttribute('aria-labelledby') === 'audio-step'`

func TestTheFocusStaysWhereItsControlVanishes(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	v := arrive(t, w.Gateway)

	// The controls of the step replace each other.
	v.presses("Record")
	v.sees(`document.querySelector('[role=timer]')?.textContent >= '0:00.2'`)
	v.presses("Stop recording")
	v.reads("Ready to analyse")
	v.sees(inStep)
	v.presses("Use another recording")
	v.reads("Drop a file here")
	v.sees(inStep)

	// When a part of the script is removed from the form, the focus moves to the button next to it, not to the top of the form.
	v.presses("Create a line")
	v.presses("Add a part of the script")
	v.goes(`el.matches('.line .remove')`, "\r")
	v.sees(`document.activeElement.textContent === 'Add a part of the script'`)
	v.presses("Cancel")
	v.sees(`document.activeElement.getAttribute('aria-labelledby') === 'token-step'`)

	// A button that is disabled while the server answers has the focus again afterwards.
	v.presses("Paste a link")
	v.sees(`document.activeElement.type === 'url'`)
	v.goes(`el.type === 'url'`, "http://10.0.0.1/recording.wav")
	v.presses("Use this address")
	v.reads("Ready to analyse")
	v.presses("Analyse recording")
	v.reads("The server does not fetch from this address.")
	v.sees(`document.activeElement.textContent === 'Analyse recording'`)

	// The only control of a part goes away with it: the neighbour before it has the focus.
	v.open("/#/jobs?status=failed")
	v.reads("No job matches these filters.")
	v.presses("Clear filters")
	v.sees(`document.activeElement.closest('form')`)
}

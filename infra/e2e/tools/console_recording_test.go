//go:build tools

package tools_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"sori.internal/infra/internal/harness/harnesstest"
)

// records records from the microphone.
func (v *visitor) records() {
	v.t.Helper()
	v.presses("Record")
	v.sees(`document.querySelector('[role=timer]')?.textContent >= '0:00.5'`)
	v.presses("Stop recording")
	v.reads("Ready to analyse")
}

// isAskedToStay reloads the page, and checks that the browser asks whether to leave it. The visitor declines.
func (v *visitor) isAskedToStay() {
	v.t.Helper()
	asked := make(chan page.DialogType, 1)
	opening := chromedp.Events(v.page, page.JavascriptDialogOpening)
	go func() {
		for e, err := range opening {
			if err != nil {
				return
			}
			asked <- e.Type
			return
		}
	}()
	go func() { _ = chromedp.Do(v.page, chromedp.Reload()) }()
	select {
	case kind := <-asked:
		if kind != page.DialogTypeBeforeunload {
			v.t.Errorf("the page asks with %s", kind)
		}
	case <-time.After(20 * time.Second):
		v.t.Fatal("the page is left without a question")
	}
	if _, err := chromedp.Call(v.page, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: false}); err != nil {
		v.t.Fatal(err)
	}
}

func TestARecordingFromTheMicrophoneIsNotLostByLeaving(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	v := arrive(t, w.Gateway)
	v.presses("Record")
	v.sees(`document.querySelector('[role=timer]')?.textContent >= '0:00.5'`)
	v.presses("Jobs")
	v.reads("No jobs yet.")
	v.shoots("microphone-left")
	v.presses("New")
	v.reads("Ready to analyse")
	v.shoots("microphone-kept")
	v.isAskedToStay()
	v.reads("Ready to analyse")
}

func TestARecordingFromTheMicrophoneIsNotLostWhenItIsRefused(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	other := w.NewToken(t)
	v := comes(t, w.Gateway)
	v.open(fmt.Sprintf("/#/?token=%d", other))
	v.sees(`document.querySelector('input[type=radio]:checked')`)
	v.records()
	if status, text := harnesstest.Send(t, w.Client, http.MethodDelete, fmt.Sprintf("%s/tokens/%d", w.Gateway, other)); status != http.StatusOK {
		t.Fatalf("the line is deleted with %d: %s", status, text)
	}
	v.presses("Analyse recording")
	v.reads("There is no such line.")
	v.shoots("recording-refused")

	// The browser has the recording still, and it is sent for another line.
	v.do(chromedp.Reload())
	v.reads("There is no such line.")
	v.presses("Start again with this recording")
	v.reads("Ready to analyse")
	v.isAskedToStay()
	v.sees(`!document.querySelector('.note')`)                    // it is no unfinished upload any more
	v.sees(`document.querySelector('input[type=radio]:checked')`) // the only line that is left
	v.presses("Analyse recording")
	v.reads("Analysis complete")
}

func TestTheBrowserAsksBeforeItLeavesARecordingThatItCannotStore(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	door := w.Proxy(w.Gateway)
	v := comes(t, door.URL)
	if _, err := chromedp.Call(v.page, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: forgetful}); err != nil {
		t.Fatal(err)
	}
	v.open("/")
	v.sees(`document.querySelector('input[type=radio]:checked')`)
	v.records()
	v.sendUntilHeld(door, 8<<10, func() { v.presses("Analyse recording") })
	v.sees(`location.hash.startsWith('#/uploads/')`)
	v.isAskedToStay()
	door.Restore()
	v.reads("Analysis complete")
	v.leaves(func() { v.do(chromedp.Reload()) }) // without a question, since the server has the recording
	v.reads("Analysis complete")
}

//go:build tools

package tools_test

import (
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/chromedp"

	"sori.internal/infra/internal/harness/harnesstest"
)

// forgetful makes the browser store nothing of a page, like a browser whose user has blocked site data.
const forgetful = `{
  const denied = () => { throw new DOMException('Access is denied for this document.', 'SecurityError'); };
  Object.defineProperty(window, 'localStorage', {get: denied});
  Object.defineProperty(window, 'sessionStorage', {get: denied});
  indexedDB.open = denied;
  LockManager.prototype.request = LockManager.prototype.query = async () => denied();
}`

func TestTheConsoleWorksInABrowserThatKeepsNothing(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	v := comes(t, w.Gateway)
	if _, err := chromedp.Call(v.page, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: forgetful}); err != nil {
		t.Fatal(err)
	}
	v.open("/")
	v.sees(`document.querySelector('input[type=radio]:checked')`)
	v.gives(speechFile(t))
	v.presses("Analyse recording")
	v.reads("Analysis complete")
	v.presses("Jobs")
	v.reads("speech.flac")
}

func TestTheConsoleStoresAgainAfterTheBrowserHasClosedItsDatabase(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	v := arrive(t, w.Gateway)
	v.uploads()
	if _, err := chromedp.Call(v.page, storage.ClearDataForOrigin, storage.ClearDataForOriginParams{Origin: w.Gateway, StorageTypes: "indexeddb"}); err != nil {
		t.Fatal(err)
	}
	v.presses("New")
	v.uploads()
	if kept := v.kept("audio"); kept != 1 {
		t.Errorf("the browser keeps %d recordings", kept)
	}
}

//go:build tools

package tools_test

import (
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	analyzer "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
)

// translated is a script that does to a page what the translation of Chrome does: it puts elements in place of the
// texts, which the scripts of the page do not know.
const translated = `(() => {
	const walk = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
	const texts = [];
	while (walk.nextNode()) {
		texts.push(walk.currentNode);
	}
	for (const text of texts.filter(text => text.data.trim() !== '')) {
		const put = document.createElement('font');
		put.append(document.createElement('font'));
		put.firstChild.textContent = 'Übersetzt: ' + text.data;
		text.replaceWith(put);
	}
})()`

func TestAPageThatTheBrowserTranslatesShowsWhatChanges(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t), Behaviour: analyzer.Behaviour{Delay: analyzer.Duration(4 * time.Second)}})
	door := w.Proxy(w.Gateway)
	v := arrive(t, door.URL)
	v.loadsFonts()
	v.gives(large(t, "long.wav"))
	v.sendUntilHeld(door, 6<<20, func() { v.presses("Analyse recording") })
	v.sees(`document.querySelector('.row.end button')`)
	v.do(chromedp.Evaluate[chromedp.Void](translated))
	v.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('.row.end button').click()`)) // Pause
	v.sees(`document.querySelector('.message').textContent === 'Upload paused' && document.querySelector('.row.end button').textContent === 'Resume'`)
	door.Restore()

	v.open("/#/jobs/" + w.Upload(t, "a.wav", loadgen.Tone(220, time.Second)))
	v.sees(`document.querySelector('.progress') && document.querySelector('.meta .chip')`)
	v.do(chromedp.Evaluate[chromedp.Void](translated))
	v.sees(`document.querySelector('.message').textContent === 'Analysis complete' && document.querySelector('.percent').textContent.startsWith('100')`)
	v.sees(`document.querySelector('.meta .chip').textContent === 'Completed'`)
}

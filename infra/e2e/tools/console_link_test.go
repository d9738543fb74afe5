//go:build tools

package tools_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
)

// links enters a link to a recording, in place of selecting a file.
func (v *visitor) links(url string) {
	v.t.Helper()
	v.presses("Paste a link")
	v.goes(`el.type === 'url'`, url+"\r")
	v.reads("Ready to analyse")
}

// drip sends bytes slowly until the rest is released.
func drip(rw http.ResponseWriter, r *http.Request, content []byte, release <-chan struct{}) {
	ticks := time.NewTicker(100 * time.Millisecond)
	defer ticks.Stop()
	for len(content) > 1000 {
		select {
		case <-release:
			_, _ = rw.Write(content)
			return
		case <-r.Context().Done():
			return
		case <-ticks.C:
			_, _ = rw.Write(content[:1000])
			rw.(http.Flusher).Flush() //nolint:forcetypeassert // the writers of net/http implement http.Flusher
			content = content[1000:]
		}
	}
}

func TestALinkIsAnalysed(t *testing.T) {
	t.Parallel()
	settings := withConsole(t)
	settings["FETCH_ALLOWED"] = "127.0.0.1:*"
	w := harnesstest.Start(t, harnesstest.Options{Settings: settings})
	audio, released := loadgen.Tone(220, 30*time.Second), make(chan struct{})
	release := sync.OnceFunc(func() { close(released) })
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Length", fmt.Sprint(len(audio)))
		drip(rw, r, audio, released)
	}))
	t.Cleanup(s.Close)
	t.Cleanup(release)
	v := arrive(t, w.Gateway)
	v.presses("Paste a link")
	v.sees(`document.activeElement.type === 'url'`)
	v.presses("Use this address")
	v.reads("Enter an address.")
	v.do(chromedp.KeyEvent("ftp://example.com/a.wav\r"))
	v.reads("Write an address that begins with http:// or https://.")
	v.pictures("link")
	v.presses("Back")

	// If the server does not fetch from an address, the page explains that in a plain sentence.
	v.links("https://10.1.2.3/a.wav")
	v.presses("Analyse recording")
	v.reads("The server does not fetch from this address.")
	v.pictures("link-refused")
	v.presses("Use another recording")

	v.links(s.URL + "/in/%EB%85%B9%EC%9D%8C%201.wav?signature=s3cret#t=1")
	v.reads("녹음 1.wav")
	v.reads("The server fetches it from 127.0.0.1")
	v.pictures("link-ready")
	v.presses("Analyse recording")
	v.sees(`location.hash.startsWith('#/jobs/')`)
	v.reads("Fetching the recording from its address")
	v.reads("of 960 kB fetched")
	v.pictures("link-fetching")
	release()
	v.reads("Analysis complete")
	v.open("/#/jobs")
	v.reads("녹음 1.wav")
	if evaluate[bool](v, `document.body.innerText.includes('s3cret') || JSON.stringify({...localStorage, ...sessionStorage}).includes('s3cret')`) {
		t.Error("the secret of the link is shown or kept")
	}
}

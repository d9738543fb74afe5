//go:build tools

package tools_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/shared/testkit"
)

// largeBytes is the size of a recording that is sent in parts: three of 5 MiB and a smaller one. Only
// its first seconds are sound, so that the analysis is fast.
const largeBytes = 17 << 20

// large creates a recording that the console sends in parts.
func large(t *testing.T, name string) string {
	t.Helper()
	tone := loadgen.Tone(220, 2*time.Second)
	return given(t, name, string(tone)+strings.Repeat("\x00", largeBytes-len(tone)))
}

// meter forwards requests to a gateway, and measures the requests of resumable uploads.
type meter struct {
	url    string
	bytes  atomic.Int64 // number of bytes of recordings
	upload atomic.Pointer[string]
}

// measures starts a meter in front of a gateway.
func measures(t *testing.T, gateway string) *meter {
	t.Helper()
	target, err := url.Parse(gateway)
	if err != nil {
		t.Fatal(err)
	}
	target.Path = ""
	m, proxy := &meter{}, httputil.NewSingleHostReverseProxy(target)
	proxy.FlushInterval = -1 // streams
	// The browser aborts requests, so errors of the proxy are expected and not logged.
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPatch {
			m.upload.Store(&r.URL.Path)
			r.Body = &metered{r.Body, &m.bytes}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	m.url = s.URL
	return m
}

// metered counts the bytes that are read.
type metered struct {
	io.ReadCloser
	n *atomic.Int64
}

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	m.n.Add(int64(n))
	return n, err //nolint:wrapcheck // the contract of io.Reader
}

// ask sends a request without a body for the newest upload, and returns the status of the answer.
func (m *meter) ask(t *testing.T, method, credential string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, m.url+*m.upload.Load(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Tus-Resumable", "1.0.0")
	if credential != "" {
		req.Header.Set("Authorization", "Bearer "+credential)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// checkRemoved waits until the server has removed the newest upload.
func (m *meter) checkRemoved(t *testing.T, credential string) {
	t.Helper()
	testkit.Eventually(t, func() error {
		if status := m.ask(t, http.MethodHead, credential); status != http.StatusNotFound {
			return fmt.Errorf("the upload is still there: %d", status)
		}
		return nil
	})
}

// sendUntilHeld calls the function by, which makes the visitor send, and waits until the proxy has forwarded n bytes
// and holds the following ones.
func (v *visitor) sendUntilHeld(door *testkit.Proxy, n int64, by func()) {
	v.t.Helper()
	held := door.Hold(n)
	by()
	select {
	case <-held:
	case <-time.After(2 * time.Minute):
		v.t.Fatal("nothing more is sent")
	}
}

// pictures takes screenshots of the page in both languages, and checks that the Korean page has no English text.
func (v *visitor) pictures(name string) {
	v.t.Helper()
	v.shoots(name)
	v.speaks("ko")
	if got := evaluate[string](v, english+`(document.body.innerText)`); got != "" {
		v.t.Errorf("the Korean page %s says %q", name, got)
	}
	v.speaks("en")
}

// reloads reloads the page and restores the network.
func (v *visitor) reloads(door *testkit.Proxy) {
	v.t.Helper()
	v.leaves(func() {
		reloaded := make(chan error, 1)
		go func() { reloaded <- chromedp.Do(v.page, chromedp.Reload()) }()
		door.Restore()
		if err := <-reloaded; err != nil {
			v.t.Fatal(err)
		}
	})
}

func TestALargeRecordingGoesOnAfterACutAPauseAndReloads(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	m := measures(t, w.Gateway)
	door := w.Proxy(m.url)
	v := arrive(t, door.URL)
	v.loadsFonts()
	v.gives(large(t, "두 시간짜리 수업 녹음.wav"))
	v.sendUntilHeld(door, 11<<20, func() { v.presses("Analyse recording") })
	v.reads("of 17.8 MB sent")
	v.do(chromedp.Evaluate[chromedp.Void](lastingPauses))
	door.Cut()
	v.reads("The connection broke. The upload goes on where it stopped")
	v.pictures("parts-cut")

	// The browser is online again, and the upload goes on until the visitor pauses it.
	v.sendUntilHeld(door, 2<<20, func() { v.do(chromedp.Evaluate[chromedp.Void](`dispatchEvent(new Event('online'))`)) })
	v.sees(`!document.body.innerText.includes('The connection broke')`)
	v.presses("Pause")
	v.sees(`document.querySelector('.progress [role=status]').textContent === 'Upload paused' && document.activeElement.textContent === 'Resume'`)
	v.reloads(door)
	v.reads("Upload paused")
	if bar := v.bar(); bar < 20 || bar > 35 {
		t.Errorf("the bar is at %d after two parts of three and a half", bar)
	}
	v.pictures("parts-paused")
	v.open("/#/")
	v.reads("is paused.")
	v.pictures("parts-unfinished")
	v.presses("Show")
	v.reads("Upload paused")

	v.sendUntilHeld(door, 1<<20, func() { v.presses("Resume") })
	v.pictures("parts-sending")
	v.reloads(door)
	v.sees(`location.hash.startsWith('#/jobs/')`)
	v.reads("Analysis complete")
	if got := m.bytes.Load(); got < largeBytes || got > largeBytes+5<<20 {
		t.Errorf("the gateway got %d bytes of %d", got, largeBytes)
	}
	job := evaluate[string](v, `location.hash.split('/').pop()`)
	resp, err := w.Client.Get(w.Gateway + "/jobs/" + job + "/audio")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if stored, err := io.Copy(io.Discard, resp.Body); err != nil || stored != largeBytes {
		t.Errorf("%d bytes are stored, %v", stored, err)
	}
}

func TestTwoTabsSendOneRecordingOnce(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	m := measures(t, w.Gateway)
	door := w.Proxy(m.url)
	v := arrive(t, door.URL)
	other := v.tab()
	other.open("/#/")
	other.loadsFonts()
	v.gives(large(t, "long.wav"))
	v.sendUntilHeld(door, 6<<20, func() { v.presses("Analyse recording") })
	v.sees(`location.hash.startsWith('#/uploads/')`)
	upload := evaluate[string](v, "location.hash")
	other.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf("location.hash = %q", upload)))
	other.reads("Another tab is sending this recording")
	other.pictures("parts-other-tab")

	// The other tab continues the upload when this one is closed. When the user cancels the upload there, it is
	// removed.
	v.do(chromedp.Navigate("about:blank"))
	other.reads("Uploading")
	door.Cut()
	v.sendUntilHeld(door, 6<<20, func() {})
	other.presses("Cancel upload")
	other.reads("New analysis")
	door.Restore()
	m.checkRemoved(t, "")
	other.open("/#/jobs")
	other.reads("No jobs yet.")
	if got := m.bytes.Load(); got > largeBytes {
		t.Errorf("the gateway got %d bytes", got)
	}
}

func TestAFileThatTheBrowserHasNotKeptIsChosenAgain(t *testing.T) {
	t.Parallel()
	settings := withConsole(t)
	settings["BASE_PATH"] = "/api"
	w := harnesstest.Start(t, harnesstest.Options{Settings: settings})
	m := measures(t, w.Gateway)
	door := w.Proxy(m.url)
	v := arrive(t, door.URL+"/api")
	file := large(t, "lesson.wav")
	v.gives(file)
	v.sendUntilHeld(door, 6<<20, func() { v.presses("Analyse recording") })
	v.presses("Pause")
	v.reads("Upload paused")
	door.Restore()
	evaluate[bool](v, `new Promise((done, fail) => {
		const opening = indexedDB.open('sori');
		opening.onerror = fail;
		opening.onsuccess = () => {
			const change = opening.result.transaction('audio', 'readwrite');
			change.objectStore('audio').clear();
			change.oncomplete = () => (opening.result.close(), done(true));
		};
	})`)
	v.leaves(func() { v.do(chromedp.Reload()) })
	v.presses("Resume")
	v.reads("Choose the file again")
	choose := func(file string) {
		t.Helper()
		v.do(chromedp.SetUploadFiles(chromedp.CSS("input[type=file]"), []string{file}))
	}
	choose(given(t, "lesson.wav", strings.Repeat("\x01", largeBytes)))
	v.reads("This is another file.")
	v.pictures("parts-file-missing")
	v.sendUntilHeld(door, 1<<20, func() { choose(file) })

	// The upload expires at the server while it is paused.
	v.presses("Pause")
	v.reads("Upload paused")
	door.Restore()
	if status := m.ask(t, http.MethodDelete, ""); status != http.StatusNoContent {
		t.Fatalf("the upload is removed with %d", status)
	}
	v.sendUntilHeld(door, 7<<20, func() { v.presses("Resume") })
	v.reads("The server no longer had what was sent before.")
	v.pictures("parts-anew")
	door.Restore()
	v.reads("Analysis complete")
}

func TestALargeRecordingIsItsOwnersAlone(t *testing.T) {
	t.Parallel()
	settings := withConsole(t)
	settings["AUTH_JWT_SECRET"], settings["OIDC_AUDIENCE"] = signInSecret, signInAudience
	w := harnesstest.Start(t, harnesstest.Options{Settings: settings, Credential: adminToken(t)})
	m := measures(t, w.Gateway)
	door := w.Proxy(m.url)
	id, key := newKey(t, w, "mina")
	_, another := newKey(t, w, "mina")
	_, ofJun := newKey(t, w, "jun")
	v := comes(t, door.URL)
	v.open("/")
	v.entersKey(key)
	v.gives(large(t, "mina's.wav"))
	v.sendUntilHeld(door, 6<<20, func() { v.presses("Analyse recording") })
	v.presses("Pause")
	v.reads("Upload paused")
	door.Restore()

	// Another user of the browser is neither shown the upload nor given it.
	jun := v.tab()
	jun.open("/" + evaluate[string](v, "location.hash"))
	jun.entersKey(ofJun)
	jun.reads("This browser no longer has the file to send.")
	jun.open("/#/")
	jun.sees(`document.querySelector('input[type=radio]')`)
	if evaluate[bool](jun, `document.querySelector('.note') !== null`) {
		t.Error("Jun is shown the upload of Mina")
	}

	// The requests of an upload have the current credential: after a key is revoked, the upload continues with another
	// key.
	if _, err := w.API.Do(w.Context(), client.Request{Method: http.MethodDelete, Path: "/api-keys/" + id, Want: http.StatusNoContent}); err != nil {
		t.Fatal(err)
	}
	awaitRefused(t, w, key)
	v.presses("Resume")
	v.reads("Sign in again")
	v.entersKey(another)
	v.sees(`location.hash.startsWith('#/jobs/')`)
	v.reads("Analysis complete")

	// After a user signs out, nothing is left at the server.
	v.presses("New")
	v.gives(large(t, "second.wav"))
	v.sendUntilHeld(door, 6<<20, func() { v.presses("Analyse recording") })
	v.presses("Pause")
	v.reads("Upload paused")
	door.Restore()
	v.presses("Sign out")
	v.reads("There are recordings that are not uploaded yet.")
	v.goes(`el.closest('dialog') && el.textContent === 'Sign out'`, "\r")
	v.reads("It is kept in this tab only")
	m.checkRemoved(t, another)
}

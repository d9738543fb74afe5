//go:build tools

package tools_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	analyzer "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/shared/testkit"
)

func TestAnAPIKeySignsIn(t *testing.T) {
	t.Parallel()
	settings := withConsole(t)
	settings["AUTH_JWT_SECRET"], settings["OIDC_AUDIENCE"] = signInSecret, signInAudience
	w := harnesstest.Start(t, harnesstest.Options{Settings: settings, Credential: adminToken(t)})
	v := comes(t, w.Gateway)
	v.open("/")
	v.reads("It is kept in this tab only")
	// Without a provider there is no button to sign in.
	v.sees(`![...document.querySelectorAll('button')].some(el => el.textContent === 'Sign in')`)
	v.presses("Use the API key")
	v.reads("Enter an API key.")
	v.entersKey("sori_0000_nonsense")
	v.reads("This API key is not accepted.")
	v.shoots("signin-key")
	id, key := newKey(t, w, "mina")
	v.goes(`el.type === 'password' && (el.select(), true)`, key+"\r")
	v.sees(`document.querySelector('.who .name')?.textContent === 'mina'`)
	v.uploads()
	v.do(chromedp.Reload())
	v.reads("Analysis complete")
	if evaluate[bool](v, fmt.Sprintf(`document.body.innerText.includes(%[1]q) || location.href.includes(%[1]q) || JSON.stringify(localStorage).includes(%[1]q)`, key)) {
		t.Error("the key is shown, or kept for longer than the tab")
	}
	other := v.tab()
	other.open("/")
	other.reads("It is kept in this tab only")

	// When a key is revoked, the page shows the sign-in and keeps its content.
	v.presses("New")
	v.gives(speechFile(t))
	if _, err := w.API.Do(w.Context(), client.Request{Method: http.MethodDelete, Path: "/api-keys/" + id, Want: http.StatusNoContent}); err != nil {
		t.Fatal(err)
	}
	awaitRefused(t, w, key)
	// The script clicks the button, since a key press goes to the dialog if another request of the page has opened that
	// already.
	v.sees(`(b => b && !b.disabled && (b.click(), true))([...document.querySelectorAll('button')].find(b => b.textContent.trim() === 'Analyse recording'))`)
	v.reads("Sign in again")
	v.shoots("signin-again-key")

	// The dialog asks before a user who would rather sign out loses the recording, and no key closes it.
	v.presses("Sign out")
	v.reads("There are recordings that are not uploaded yet.")
	v.presses("Keep it")
	for range 3 {
		v.do(chromedp.KeyEvent("\x1b"))
	}
	v.sees(`document.querySelector('dialog.signin').open`)
	_, another := newKey(t, w, "mina")
	v.entersKey(another)
	v.sees(`!document.querySelector('dialog')`)
	v.sees(`location.hash.startsWith('#/jobs/')`) // the recording was neither lost nor refused
	v.reads("Analysis complete")
}

func TestSigningOutEndsTheSessionsOfTabsThatWereLeft(t *testing.T) {
	t.Parallel()
	settings := withConsole(t)
	settings["AUTH_JWT_SECRET"], settings["OIDC_AUDIENCE"] = signInSecret, signInAudience
	w := harnesstest.Start(t, harnesstest.Options{Settings: settings, Credential: adminToken(t)})
	_, key := newKey(t, w, "mina")
	_, ofJun := newKey(t, w, "jun")
	v := comes(t, w.Gateway)
	left, juns := v.tab(), v.tab()
	for tab, key := range map[*visitor]string{v: key, left: key, juns: ofJun} {
		tab.open("/#/jobs")
		tab.entersKey(key)
		tab.reads("No jobs yet.")
	}
	for _, tab := range []*visitor{left, juns} {
		tab.open("/livez")
	}
	v.signsOut()
	left.goesBack()
	left.reads("It is kept in this tab only")
	juns.goesBack()
	juns.reads("No jobs yet.")

	// A later sign-in counts.
	left.entersKey(key)
	left.reads("No jobs yet.")
	left.do(chromedp.Reload())
	left.reads("No jobs yet.")
}

// awaitRefused waits until the gateway refuses a key.
func awaitRefused(t *testing.T, w *harnesstest.Env, key string) {
	t.Helper()
	api := &client.Client{Base: w.Gateway, HTTP: w.Client, Credential: key}
	testkit.Eventually(t, func() error {
		_, err := api.Do(w.Context(), client.Request{Path: "/jobs/?limit=1", Want: http.StatusUnauthorized})
		return err
	})
}

// storedToken is the access token of the visitor's tab.
const storedToken = `JSON.parse(sessionStorage.getItem('sori.session')).tokens.access`

func TestTokensAreRenewedBeforeTheyExpire(t *testing.T) {
	t.Parallel()
	w, _ := secured(t, 4*time.Second, harnesstest.Options{})
	v := comes(t, w.Gateway)
	v.open("/#/jobs")
	v.signsIn("mina")
	v.reads("No jobs yet.")
	for range 3 {
		token := evaluate[string](v, storedToken)
		v.sees(fmt.Sprintf(storedToken+` !== %q`, token))
	}
	// A tab whose token has expired while the tab was closed renews the token first.
	v.do(chromedp.Evaluate[chromedp.Void](`(() => {
		const session = JSON.parse(sessionStorage.getItem('sori.session'));
		session.tokens.access = 'x.y.z';
		session.tokens.expires = 1;
		sessionStorage.setItem('sori.session', JSON.stringify(session));
	})()`))
	v.do(chromedp.Reload())
	v.presses("New")
	v.uploads()
	v.sees(`!document.querySelector('dialog')`)
}

func TestAUserSignsInOnADeviceWhoseClockIsWrong(t *testing.T) {
	t.Parallel()
	w, _ := secured(t, time.Minute, harnesstest.Options{})
	for _, hours := range []int{-5, 5} {
		v := comes(t, w.Gateway)
		wrong := fmt.Sprintf(`{ const real = Date.now; Date.now = () => real() + %d * 3600e3; }`, hours)
		if _, err := chromedp.Call(v.page, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: wrong}); err != nil {
			t.Fatal(err)
		}
		v.open("/")
		v.signsIn("mina")
		v.uploads()
	}
}

func TestAnExpiredSignInAsksAgainAndLosesNothing(t *testing.T) {
	t.Parallel()
	w, p := secured(t, time.Minute, harnesstest.Options{})
	v := comes(t, w.Gateway)
	v.open("/")
	v.signsIn("mina")
	v.gives(speechFile(t))

	// The tokens of the page are no longer accepted, and cannot be renewed.
	v.do(chromedp.Evaluate[chromedp.Void](breakSession))
	v.do(chromedp.Reload())
	v.reads("Sign in again")
	v.shoots("signin-again")
	v.signsInAgain(t, "mina")
	v.gives(speechFile(t))
	p.stop()
	v.presses("Analyse recording") // works without the provider, since the token is valid
	v.reads("Analysis complete")
	p.restart()
}

// breakSession is a script that replaces the tokens of a tab by others that nobody accepts.
const breakSession = `(() => {
	const session = JSON.parse(sessionStorage.getItem('sori.session'));
	Object.assign(session.tokens, {access: 'x.y.z', refresh: 'unknown'});
	sessionStorage.setItem('sori.session', JSON.stringify(session));
})()`

// signsInAgain signs a user in again, in the other window.
func (v *visitor) signsInAgain(t *testing.T, name string) {
	t.Helper()
	window := v.awaitWindow()
	v.presses("Sign in")
	other := window()
	other.types(name, name[:1]+"-password")
	v.sees(`!document.querySelector('dialog')`)
	testkit.Eventually(t, func() error {
		open, err := chromedp.Targets(v.page)
		for _, o := range open {
			if err == nil && o.Type == "page" && strings.Contains(o.URL, "state=") {
				err = fmt.Errorf("the other window is still open at %s", o.URL)
			}
		}
		return err
	})
}

// spoilFirst is a script that makes the first ticket in the URLs of streams and of audio invalid.
const spoilFirst = `(() => {
	window.spoiled = [];
	const first = {};
	const spoil = (kind, url) => {
		if (!String(url).includes('ticket=') || (first[kind] ??= url) !== url) {
			return url;
		}
		spoiled.push(kind);
		return url.replace('ticket=', 'ticket=x');
	};
	const Plain = window.EventSource;
	window.EventSource = class extends Plain {
		constructor(url, init) { super(spoil('stream', url), init); }
	};
	const src = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, 'src');
	Object.defineProperty(HTMLMediaElement.prototype, 'src', {...src, set(url) { src.set.call(this, spoil('audio', url)); }});
})()`

func TestATicketThatIsRefusedIsReplaced(t *testing.T) {
	t.Parallel()
	w, _ := secured(t, time.Minute, harnesstest.Options{Behaviour: analyzer.Behaviour{Delay: analyzer.Duration(8 * time.Second)}})
	_, key := newKey(t, w, "mina")
	upload := &client.Client{Base: w.Gateway, HTTP: w.Client, Credential: key}
	job, err := upload.Upload(w.Context(), w.Token, loadgen.RecordingOf("a.wav", loadgen.Tone(220, 3*time.Second)).Form())
	if err != nil {
		t.Fatal(err)
	}
	v := comes(t, w.Gateway)
	if _, err := chromedp.Call(v.page, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: spoilFirst}); err != nil {
		t.Fatal(err)
	}
	v.open("/#/jobs/" + job)
	v.signsIn("mina")
	v.reads("Analysis complete")
	checkPlayback(t, v)
	if kinds := evaluate[[]string](v, "spoiled"); len(kinds) != 2 {
		t.Errorf("refused are %q", kinds)
	}
	v.sees(`!document.querySelector('.failure, dialog')`)

	// A download whose ticket has expired, and for which there is no other, says why nothing happens.
	v.do(chromedp.Evaluate[chromedp.Void](`(() => {
		const [now, real] = [Date.now, fetch];
		Date.now = () => now() + 3600e3;
		window.fetch = (url, ...rest) => String(url).endsWith('/ticket') ? Promise.reject(new TypeError('offline')) : real(url, ...rest);
	})()`))
	v.presses("Recording")
	v.reads("The server cannot be reached.")
}

//go:build tools

package tools_test

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
	"github.com/golang-jwt/jwt/v5"

	analyzer "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/oidcprovider"
	"sori.internal/infra/internal/stack/proc"
	"sori.internal/shared/testkit"
)

const (
	signInAudience = "sori"
	signInSecret   = "a-secret-of-thirty-two-bytes-0123" // the key that signs the administrator's tokens
)

// provider is an OpenID provider that can be stopped and started again at its address.
type provider struct {
	t       *testing.T
	url     string
	handler atomic.Pointer[oidcprovider.Provider] // nil until the address of the console is known
	server  *http.Server
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	ports, err := proc.FreePorts(1) // no outgoing connection takes this port while the provider is stopped
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{t: t}
	p.listen(proc.Address(ports[0]))
	t.Cleanup(p.stop)
	return p
}

func (p *provider) listen(addr string) {
	p.t.Helper()
	testkit.Eventually(p.t, func() error {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return err
		}
		p.url = "http://" + l.Addr().String()
		p.server = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(p.serve)}
		go func(s *http.Server) { _ = s.Serve(l) }(p.server)
		return nil
	})
}

func (p *provider) serve(w http.ResponseWriter, r *http.Request) {
	if h := p.handler.Load(); h != nil {
		h.ServeHTTP(w, r)
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
}

// stop stops the provider, so that it cannot be reached.
func (p *provider) stop() { _ = p.server.Close() }

// restart starts the stopped provider again.
func (p *provider) restart() { p.listen(strings.TrimPrefix(p.url, "http://")) }

// secured starts Sori with the settings in o and a provider whose tokens are valid for the given
// time. mina, jun and an admin can sign in.
func secured(t *testing.T, validity time.Duration, o harnesstest.Options) (*harnesstest.Env, *provider) {
	t.Helper()
	p := newProvider(t)
	settings := withConsole(t)
	maps.Copy(settings, map[string]string{
		"OIDC_ISSUER": p.url, "OIDC_AUDIENCE": signInAudience, "OIDC_CLIENT_ID": "console", "AUTH_JWT_SECRET": signInSecret,
	})
	maps.Copy(settings, o.Settings)
	o.Settings, o.Credential = settings, adminToken(t)
	w := harnesstest.Start(t, o)
	h, err := oidcprovider.New(oidcprovider.Options{
		Issuer: p.url, Audience: signInAudience, ClientID: "console", RedirectURIs: []string{w.Gateway + "/console"}, Validity: validity,
		Users: []oidcprovider.User{
			{Name: "mina", Password: "m-password"}, {Name: "jun", Password: "j-password"},
			{Name: "admin", Password: "a-password", Roles: []string{"sori-admin"}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	p.handler.Store(h)
	return w, p
}

func adminToken(t *testing.T) string {
	t.Helper()
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": "the-test", "aud": signInAudience, "exp": time.Now().Add(time.Hour).Unix(), "roles": []string{"sori-admin"},
	}).SignedString([]byte(signInSecret))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// newKey makes an API key of an owner.
func newKey(t *testing.T, w *harnesstest.Env, owner string) (id, key string) {
	t.Helper()
	var made struct{ ID, Key string }
	r, err := client.JSON(client.Request{Method: http.MethodPost, Path: "/api-keys/", Want: http.StatusCreated, Into: &made},
		map[string]any{"name": "console", "owner": owner, "scopes": []string{"jobs:read", "jobs:write", "catalogue:read"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.API.Do(w.Context(), r); err != nil {
		t.Fatal(err)
	}
	return made.ID, made.Key
}

// types enters a name and a password at the page of the provider.
func (v *visitor) types(name, password string) {
	v.t.Helper()
	v.sees(`document.querySelector('input[name=password]')`)
	v.goes(`el.name === 'name'`, name)
	v.goes(`el.name === 'password'`, password+"\r")
}

// signsIn presses the button to sign in, and signs a user in.
func (v *visitor) signsIn(name string) {
	v.t.Helper()
	v.presses("Sign in")
	v.types(name, name[:1]+"-password")
	v.sees(fmt.Sprintf(`document.querySelector('.who .name')?.textContent === %q`, name))
}

// signsOut signs the user out, and waits for the page that the browser loads after that.
func (v *visitor) signsOut() {
	v.t.Helper()
	v.leaves(func() { v.presses("Sign out") })
	v.reads("Sign in to upload recordings")
}

// entersKey enters an API key.
func (v *visitor) entersKey(key string) {
	v.t.Helper()
	v.goes(`el.type === 'password'`, key+"\r")
}

// uploads uploads a recording and waits for the result. It returns the id of the job.
func (v *visitor) uploads() string {
	v.t.Helper()
	v.gives(speechFile(v.t))
	v.presses("Analyse recording")
	v.reads("Analysis complete")
	v.sees(`location.hash.startsWith('#/jobs/')`)
	return evaluate[string](v, `location.hash.split('/').pop()`)
}

// awaitWindow returns a function that waits until the page has opened another window, and returns
// the visitor's view of that window. awaitWindow must be called before the page opens it.
func (v *visitor) awaitWindow() (opened func() *visitor) {
	v.t.Helper()
	ids := chromedp.WaitNewTarget(v.page, func(info *target.Info) bool { return info.Type == "page" })
	return func() *visitor {
		v.t.Helper()
		select {
		case id := <-ids:
			window := start(v.page, v.t, chromedp.WithTargetID(id))
			return &visitor{t: v.t, home: v.home, page: window}
		case <-time.After(time.Minute):
			v.t.Fatal("no other window is opened")
			return nil
		}
	}
}

func TestAUserSignsInAndTakesARecordingToItsResult(t *testing.T) {
	t.Parallel()
	w, _ := secured(t, time.Minute, harnesstest.Options{
		Settings: map[string]string{"BASE_PATH": "/sori"}, Behaviour: analyzer.Behaviour{Delay: analyzer.Duration(4 * time.Second)},
	})
	v := comes(t, w.Gateway)
	v.open("/#/jobs?status=failed")
	v.reads("Sign in to upload recordings")
	v.sees(`document.querySelectorAll('nav a').length === 0`)
	v.shoots("signin")
	v.signsIn("mina")
	v.sees(`location.hash === '#/jobs?status=failed' && location.search === ''`) // the page on which the visitor was before the sign-in
	v.presses("New")
	v.gives(speechFile(t))
	v.shoots("signed-in-new")
	v.presses("Analyse recording")
	v.sees(`document.querySelector('[role=progressbar]')?.getAttribute('aria-valuenow') >= 70`)
	v.do(chromedp.Reload())
	v.reads("Analysis complete")
	checkPictures(t, v)
	checkPlayback(t, v)
	v.shoots("signed-in-result")
	job := evaluate[string](v, `location.hash.split('/').pop()`)

	// Another browser of the user, which never had the file, plays the stored recording.
	second := comes(t, w.Gateway)
	second.open("/#/jobs/" + job)
	second.signsIn("mina")
	second.reads("Analysis complete")
	checkPlayback(t, second)
	if link := evaluate[string](second, `[...document.querySelectorAll('a[download]')].map(a => a.href).find(href => href.includes('/audio')) ?? ''`); !strings.Contains(link, "ticket=") {
		t.Errorf("the link to the recording is %s", link)
	}
	checkSignOut(t, v)
}

// checkSignOut signs out, and checks that the browser keeps no data of the user and asks to sign in
// again.
func checkSignOut(t *testing.T, v *visitor) {
	t.Helper()
	v.signsOut()
	v.sees(`location.hash === ''`)
	if left := evaluate[int](v, `sessionStorage.length`); left > 1 { // the list that was shown last
		t.Errorf("%d entries are left: %s", left, evaluate[string](v, `JSON.stringify(sessionStorage)`))
	}
	for _, store := range []string{"recordings", "audio"} {
		if kept := v.kept(store); kept != 0 {
			t.Errorf("the browser keeps %d %s", kept, store)
		}
	}
	v.goesBack()
	v.reads("Sign in to upload recordings")
	v.open("/#/jobs")
	v.reads("Sign in to upload recordings")
}

// kept returns the number of entries in a store of the browser: recordings, or audio.
func (v *visitor) kept(store string) int {
	v.t.Helper()
	return evaluate[int](v, fmt.Sprintf(`new Promise((done, fail) => {
		const opening = indexedDB.open('sori');
		opening.onerror = fail;
		opening.onsuccess = () => opening.result.transaction(%[1]q).objectStore(%[1]q).count().onsuccess = e => {
			opening.result.close();
			done(e.target.result);
		};
	})`, store))
}

func TestTwoUsersDoNotSeeEachOthersJobs(t *testing.T) {
	t.Parallel()
	w, _ := secured(t, time.Minute, harnesstest.Options{})
	mina, jun := comes(t, w.Gateway), comes(t, w.Gateway)
	mina.open("/")
	mina.signsIn("mina")
	job := mina.uploads()
	jun.open("/#/jobs/" + job)
	jun.signsIn("jun")
	jun.reads("There is no such job.")
	jun.shoots("other-users-job")
	jun.presses("Jobs")
	jun.reads("No jobs yet.")
	jun.presses("New")
	own := jun.uploads()
	jun.presses("Jobs")
	jun.sees(`document.querySelectorAll('tbody tr').length === 1`)
	mina.open("/#/jobs/" + own)
	mina.reads("There is no such job.")
	mina.presses("Jobs")
	mina.sees(`document.querySelectorAll('tbody tr').length === 1`)

	// A user may not change the lines; an admin may, and sees all jobs.
	const offered = `[...document.querySelectorAll('button')].some(el => el.textContent === 'Create a line')`
	mina.presses("New")
	mina.sees(`document.querySelector('input[type=radio]:checked') && !` + offered)
	jun.signsOut()
	jun.signsIn("admin")
	jun.sees(offered)
	jun.presses("Jobs")
	jun.sees(`document.querySelectorAll('tbody tr').length === 2`)
}

func TestTheJobsOfAUserWhoSignsOutStay(t *testing.T) {
	t.Parallel()
	w, _ := secured(t, time.Minute, harnesstest.Options{Behaviour: analyzer.Behaviour{Delay: analyzer.Duration(5 * time.Second)}})
	v := comes(t, w.Gateway)
	v.open("/")
	v.signsIn("mina")
	ended := v.uploads()
	v.presses("New")
	v.gives(speechFile(t))
	v.presses("Analyse recording")
	v.sees(`location.hash.startsWith('#/jobs/')`)
	underWay := evaluate[string](v, `location.hash.split('/').pop()`)
	v.signsOut()
	for _, job := range []string{ended, underWay} {
		harnesstest.CheckFrames(t, w.Follow(w.Context(), t, job, "en"))
	}
}

func TestTheConsoleWorksOnWhileTheProviderIsAway(t *testing.T) {
	t.Parallel()
	w, p := secured(t, time.Minute, harnesstest.Options{})
	v, late := comes(t, w.Gateway), comes(t, w.Gateway)
	v.open("/")
	v.signsIn("mina")
	job := v.uploads()
	p.stop()
	v.presses("Jobs")
	v.sees(`document.querySelectorAll('tbody tr').length === 1`)
	v.do(chromedp.Reload())
	v.open("/#/jobs/" + job)
	v.reads("Analysis complete")
	late.open("/#/jobs")
	late.presses("Sign in")
	late.reads("The sign-in service cannot be reached.")
	late.shoots("signin-away")
	p.restart()
	late.signsIn("mina")
	late.sees(`document.querySelectorAll('tbody tr').length === 1`)
}

func TestTheKoreanSignInSpeaksKorean(t *testing.T) {
	t.Parallel()
	w, p := secured(t, time.Minute, harnesstest.Options{})
	v := comes(t, w.Gateway)
	v.open("/")
	v.speaks("ko")
	korean := func(words string) {
		t.Helper()
		v.reads(words)
		if got := evaluate[string](v, english+`(document.body.innerText)`); got != "" {
			t.Errorf("the Korean page says %q", got)
		}
	}
	korean("녹음을 올리고 결과를 보려면 로그인하세요.")
	v.entersKey("sori_0000_nonsense")
	korean("사용할 수 없는 API 키입니다.")
	p.stop()
	v.presses("로그인")
	korean("로그인 서비스에 연결할 수 없습니다.")
	p.restart()
	v.presses("로그인")
	v.types("jun", "j-password")
	v.sees(`document.querySelector('.who .name')?.textContent === 'jun'`)
	korean("새 분석")
	v.open("/#/jobs/01890a5d-ac96-774b-bcce-b302099a8057")
	korean("없는 작업이거나 다른 사람의 작업입니다.")
	v.do(chromedp.Evaluate[chromedp.Void](breakSession))
	v.do(chromedp.Reload())
	korean("다시 로그인하면 이 화면에서 그대로 이어집니다.")
}

//go:build tools

package tools_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	analyzer "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
)

// between is a proxy in front of a gateway, which answers some requests itself.
type between struct {
	url  string
	with atomic.Pointer[http.HandlerFunc] // if set, this handler answers instead of the gateway; it may call forward
	next *httputil.ReverseProxy
}

func stands(t *testing.T, gateway string) *between {
	t.Helper()
	target, err := url.Parse(gateway)
	if err != nil {
		t.Fatal(err)
	}
	b := &between{next: httputil.NewSingleHostReverseProxy(target)}
	b.next.FlushInterval = -1 // streams
	b.next.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answer := b.with.Load(); answer != nil {
			(*answer)(w, r)
			return
		}
		b.next.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	b.url = s.URL
	return b
}

// answers makes the proxy answer requests with the function; nil: the gateway answers.
func (b *between) answers(by http.HandlerFunc) {
	if by == nil {
		b.with.Store(nil)
		return
	}
	b.with.Store(&by)
}

func TestTheConsoleGoesOnWhenAProxyReachesTheServerAgain(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t), Behaviour: analyzer.Behaviour{Delay: analyzer.Duration(3 * time.Second)}})
	b := stands(t, w.Gateway)
	v := arrive(t, b.url)
	v.loadsFonts()
	away := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadGateway)
		_, _ = w.Write([]byte("<html><body>502 Bad Gateway</body></html>"))
	}

	// A recording is sent again.
	v.gives(speechFile(t))
	b.answers(away)
	v.presses("Analyse recording")
	v.reads("A part of the server is away for the moment.")
	b.answers(nil)
	v.sees(`location.hash.startsWith('#/jobs/')`)
	v.reads("Analysis complete")

	// The page of a job was opened while the gateway was unavailable. When the gateway is available again, the page
	// shows how the job continues.
	job := w.Upload(t, "another.wav", loadgen.Tone(330, time.Second))
	b.answers(away)
	v.do(chromedp.Evaluate[chromedp.Void](`location.hash = '#/jobs/` + job + `'`))
	v.reads("A part of the server is away for the moment.")
	b.answers(nil)
	v.reads("Analysis complete")

	// So it does if the server has failed once.
	job = w.Upload(t, "a third.wav", loadgen.Tone(440, time.Second))
	b.answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	v.do(chromedp.Evaluate[chromedp.Void](`location.hash = '#/jobs/` + job + `'`))
	v.reads("Something went wrong at the server.")
	b.answers(nil)
	v.reads("Analysis complete")
	v.sees(`document.querySelector('.player')`)
}

func TestAnAnswerThatBreaksOffIsAskedForAgain(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	b := stands(t, w.Gateway)
	v := arrive(t, b.url)
	broken := make(chan struct{}, 100)
	b.answers(func(rw http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/jobs/") {
			b.next.ServeHTTP(rw, r)
			return
		}
		rw.Header().Set("Content-Type", "application/json")
		rw.Header().Set("Content-Length", "1000")
		_, _ = rw.Write([]byte(`{"jobs":[`))
		broken <- struct{}{}
	})
	w.Upload(t, "a.wav", loadgen.Tone(330, time.Second))
	v.do(chromedp.Evaluate[chromedp.Void](`location.hash = '#/jobs'`))
	<-broken
	v.reads("The server cannot be reached.")
	b.answers(nil)
	v.do(chromedp.Reload())
	v.reads("a.wav")

	// The page of a job continues by itself after requests have failed.
	job := w.Upload(t, "b.wav", loadgen.Tone(440, time.Second))
	b.answers(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/tokens/analysis-progress/") {
			rw.WriteHeader(http.StatusInternalServerError) // the console requests the result
			return
		}
		if !strings.HasPrefix(r.URL.Path, "/tokens/analysis-result/") {
			b.next.ServeHTTP(rw, r)
			return
		}
		rw.Header().Set("Content-Type", "application/json")
		rw.Header().Set("Content-Length", "1000")
		_, _ = rw.Write([]byte(`{"job_id":`))
		broken <- struct{}{}
	})
	v.do(chromedp.Evaluate[chromedp.Void](`location.hash = '#/jobs/` + job + `'`))
	<-broken
	v.reads("The server cannot be reached.")
	b.answers(nil)
	v.reads("Analysis complete")
}

func TestAStreamThatHasDiedSilentlyIsOpenedAgain(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t), Behaviour: analyzer.Behaviour{Delay: analyzer.Duration(6 * time.Second)}})
	b := stands(t, w.Gateway)
	v := arrive(t, b.url)
	var streams atomic.Int64
	b.answers(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/tokens/analysis-progress/") && streams.Add(1) == 1 {
			rw.Header().Set("Content-Type", "text/event-stream")
			rw.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(rw).Flush()
			<-r.Context().Done() // nothing arrives, and the connection stays
			return
		}
		b.next.ServeHTTP(rw, r)
	})
	v.do(chromedp.Evaluate[chromedp.Void](`(() => {
		const real = setTimeout;
		window.setTimeout = (work, ms, ...rest) => real(work, ms === 60_000 ? 3_000 : ms, ...rest); // the silence
	})()`))
	v.gives(speechFile(t))
	v.presses("Analyse recording")
	v.reads("Analysis complete")
	if n := streams.Load(); n < 2 {
		t.Errorf("%d streams were opened", n)
	}
}

func TestAJobWhoseStreamDoesNotArriveIsFollowedToItsEnd(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t), Behaviour: analyzer.Behaviour{Delay: analyzer.Duration(5 * time.Second)}})
	for name, stream := range map[string]http.HandlerFunc{
		"a proxy holds it back until its end": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"an extension blocks it":              func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, // for the page, both look the same
		"a proxy holds all but its header back": func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", "text/event-stream")
			_ = http.NewResponseController(rw).Flush()
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := stands(t, w.Gateway)
			v := arrive(t, b.url)
			b.answers(func(rw http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/tokens/analysis-progress/") {
					stream(rw, r)
					return
				}
				b.next.ServeHTTP(rw, r)
			})
			v.do(chromedp.Evaluate[chromedp.Void](`(() => {
				const real = setTimeout;
				window.setTimeout = (work, ms, ...rest) => real(work, ms >= 10_000 ? 1_000 : ms, ...rest); // how long a stream may tell nothing
			})()`))
			job := w.Upload(t, "a.wav", loadgen.Tone(330, time.Second))
			v.do(chromedp.Evaluate[chromedp.Void](`location.hash = '#/jobs/` + job + `'`))
			v.sees(`document.querySelector('[role=progressbar]')`)
			v.reads("Analysis complete")
		})
	}
}

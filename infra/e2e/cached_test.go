package e2e_test

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	analyzer "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// cached returns the options of an Env that caches results. The middleware front gets the requests to the
// analysis server.
func cached(front func(http.Handler) http.Handler) harnesstest.Options {
	return harnesstest.Options{
		Settings: map[string]string{
			"RESULT_CACHE_TTL": "1h", "RATE_LIMIT_PER_ADDRESS": "0", "RATE_LIMIT_PER_PRINCIPAL": "0", "MAX_UPLOADS_PER_PRINCIPAL": "0",
		},
		Behaviour: analyzer.Behaviour{Instant: true}, Front: front,
	}
}

// gate counts the requests to an analysis server and holds them until it is opened.
type gate struct {
	requests atomic.Int64
	open     func()
	opened   chan struct{}
}

func newGate(t *testing.T) *gate {
	t.Helper()
	g := &gate{opened: make(chan struct{})}
	g.open = sync.OnceFunc(func() { close(g.opened) })
	t.Cleanup(g.open)
	return g
}

func (g *gate) front(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			g.requests.Add(1)
			<-g.opened
		}
		next.ServeHTTP(w, r)
	})
}

// completed returns the jobs that are completed, and how many of them have a cached result.
func completed(ctx context.Context, w *harnesstest.Env) (all, cached int, err error) {
	for path := "/jobs/?status=completed&limit=200"; path != ""; {
		var page struct {
			Jobs []struct {
				Cached bool `json:"cached"`
			} `json:"jobs"`
			Next *string `json:"next_cursor"`
		}
		if _, err := w.API.Do(ctx, client.Request{Path: path, Into: &page}); err != nil {
			return 0, 0, err
		}
		for _, j := range page.Jobs {
			all++
			if j.Cached {
				cached++
			}
		}
		path = ""
		if page.Next != nil {
			path = "/jobs/?status=completed&limit=200&cursor=" + *page.Next
		}
	}
	return all, cached, nil
}

var identicalUploads = flag.Int("identical-uploads", 100, "uploads of one recording at once")

func TestIdenticalUploadsAtOnceAreAnalysedOnce(t *testing.T) {
	t.Parallel()
	const clients = 32
	uploads := *identicalUploads
	g := newGate(t)
	w := harnesstest.Start(t, cached(g.front))
	plain := &client.Client{Base: w.Gateway} // a client that does not check the answers against the API document
	recording := loadgen.RecordingOf("tone.wav", loadgen.Tone(220, 100*time.Millisecond))
	began := time.Now()
	group, ctx := errgroup.WithContext(w.Context())
	group.SetLimit(clients)
	for range uploads {
		group.Go(func() error {
			_, err := plain.Upload(ctx, w.Token, recording.Form())
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	accepted := time.Since(began)
	bus := w.Bus("tester")
	until := func(n int, s event.Stream, filter string) {
		t.Helper()
		testkit.Eventually(t, func() error {
			subjects, err := bus.Stream(s).Subjects(w.Context(), filter)
			if err == nil && len(subjects) != n {
				err = fmt.Errorf("%d of %d messages", len(subjects), n)
			}
			return err
		})
	}
	until(uploads-1, event.Shared(), event.FollowerSubject("*", "*"))
	waiting := time.Since(began)
	g.open()
	until(uploads, event.Jobs(), event.Filter(event.NameCompleted))
	t.Logf("%d uploads are accepted in %v, all others wait after %v, and all are completed %v later",
		uploads, accepted, waiting, time.Since(began)-waiting)
	testkit.Eventually(t, func() error {
		all, cached, err := completed(w.Context(), w)
		if err == nil && (all != uploads || cached != uploads-1) {
			err = fmt.Errorf("%d jobs are completed, %d of them with a cached result", all, cached)
		}
		return err
	})
	if n := g.requests.Load(); n != 1 {
		t.Errorf("%d requests", n)
	}
}

func TestAClientGetsACachedResultAtOnceUnlessItWantsANewOne(t *testing.T) {
	t.Parallel()
	const uploads = 40
	g := newGate(t)
	g.open()
	w := harnesstest.Start(t, cached(g.front))
	audio := loadgen.Tone(330, 200*time.Millisecond)
	first := w.Upload(t, "a.wav", audio)
	frames := w.Follow(w.Context(), t, first, "en")
	harnesstest.CheckFrames(t, frames)
	want := string(frames[len(frames)-1].Result)

	took := make([]time.Duration, uploads)
	for i := range took {
		began := time.Now()
		job := w.Upload(t, "b.wav", audio)
		frames := w.Follow(w.Context(), t, job, "en")
		took[i] = time.Since(began)
		if last := frames[len(frames)-1]; last.Status != "completed" || string(last.Result) != want {
			t.Fatalf("the last frame is %+v", last)
		}
		var r result
		w.Result(t, job, &r)
		if !r.Cached {
			t.Fatalf("the result is %+v", r)
		}
	}
	slices.Sort(took)
	t.Logf("from the upload to the last frame: p50 %v, p90 %v", took[uploads/2], took[uploads*9/10])

	known := fmt.Sprintf("/tokens/%d/results/%x", w.Token, sha256.Sum256(audio))
	ask := func() (header http.Header, status int) {
		req, err := http.NewRequestWithContext(w.Context(), http.MethodHead, w.Gateway+known, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := w.Client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.Header, resp.StatusCode
	}
	if header, status := ask(); status != http.StatusOK || header.Get("Location") != "/tokens/analysis-result/"+first {
		t.Errorf("%d %v", status, header)
	}
	if n := g.requests.Load(); n != 1 {
		t.Errorf("%d requests", n)
	}

	form := loadgen.RecordingOf("c.wav", audio).Form()
	form.Fresh = true
	renewed, err := w.API.Upload(w.Context(), w.Token, form)
	if err != nil {
		t.Fatal(err)
	}
	harnesstest.CheckFrames(t, w.Follow(w.Context(), t, renewed, "en"))
	if header, _ := ask(); header.Get("Location") != "/tokens/analysis-result/"+renewed || g.requests.Load() != 2 {
		t.Errorf("%v, %d requests", header, g.requests.Load())
	}
	if err := w.API.Erase(w.Context(), renewed); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, func() error {
		if _, status := ask(); status != http.StatusNotFound {
			return fmt.Errorf("erased: %d", status)
		}
		return nil
	})
	// The deletion of a token must erase its jobs, and with them the cached results.
	other := w.NewToken(t)
	again, err := w.API.Upload(w.Context(), other, loadgen.RecordingOf("d.wav", audio).Form())
	if err != nil {
		t.Fatal(err)
	}
	harnesstest.CheckFrames(t, w.Follow(w.Context(), t, again, "en"))
	if n := len(w.Messages(event.Results())); n != 1 {
		t.Errorf("%d results are cached", n)
	}
	harnesstest.Send(t, http.DefaultClient, http.MethodDelete, fmt.Sprintf("%s/tokens/%d", w.Gateway, other))
	testkit.Eventually(t, func() error {
		if n := len(w.Messages(event.Results())); n != 0 {
			return fmt.Errorf("%d results are cached", n)
		}
		return nil
	})
}

package api_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/services/tracker/internal/api"
	"sori.internal/services/tracker/internal/command"
	"sori.internal/services/tracker/internal/job"
	"sori.internal/services/tracker/internal/query"
	"sori.internal/services/tracker/internal/watch"
	"sori.internal/shared/health"
	"sori.internal/shared/httpd"
	"sori.internal/shared/locale"
	"sori.internal/shared/metrics"
	"sori.internal/shared/principal"
	"sori.internal/shared/testkit"
)

const id = "01890a5d-ac96-774b-bcce-b302099a8057"

// still implements the dependencies of the API for a job that never changes.
type still struct{}

func (still) ResultSize(context.Context, string) (int64, error) { return 0, nil }

func (still) Find(context.Context, string) (job.Snapshot, error) {
	return job.Snapshot{JobID: id, Version: 1, Status: job.Processing, Stage: job.StageReceived, Progress: 10}, nil
}
func (still) List(context.Context, query.Filter, int) ([]query.Listed, error) { return nil, nil }
func (still) Recording(context.Context, string) (query.Recording, error) {
	return query.Recording{}, nil
}
func (still) Link(context.Context, string, query.Recording, bool) (string, error) { return "", nil }
func (still) Do(context.Context, command.Request) (job.Status, error) {
	return job.Processing, nil
}
func (still) Erase(context.Context, string, string) error { return nil }
func (still) Subscribe(context.Context, string) error     { return nil }
func (still) Unsubscribe(string) error                    { return nil }
func (still) Status(context.Context, principal.Principal, string) (job.Status, error) {
	return job.Processing, nil
}
func (still) CheckRead(context.Context, principal.Principal, string) error    { return nil }
func (still) CheckControl(context.Context, principal.Principal, string) error { return nil }

func TestAShutdownEndsLongPollsAndStreams(t *testing.T) {
	t.Parallel()
	hub := watch.NewHub(still{}, still{})
	a, mux, header := serve(t, hub)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = a.Run(ctx) })
	start := time.Now()
	for _, path := range []string{"/tokens/analysis-result/" + id + "?wait=60", "/tokens/analysis-progress/" + id} {
		wg.Go(func() {
			w := httptest.NewRecorder()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
			r.Header.Set(principal.Header, header)
			mux.ServeHTTP(deadlines{w}, r)
			if w.Code != http.StatusOK {
				t.Errorf("%s: %d %s", path, w.Code, w.Body)
			}
		})
	}
	testkit.Eventually(t, func() error {
		if a.Streams() != 1 || hub.Watched() != 1 {
			return fmt.Errorf("%v streams, %d watched", a.Streams(), hub.Watched())
		}
		return nil
	})
	stop()
	wg.Wait()
	if took := time.Since(start); took > 20*time.Second || a.Streams() != 0 || hub.Watched() != 0 {
		t.Errorf("after %v %v streams, %d watched", took, a.Streams(), hub.Watched())
	}
}

// canceled implements the dependencies of the API for a canceled job.
type canceled struct{ still }

func (canceled) Find(context.Context, string) (job.Snapshot, error) {
	return job.Snapshot{JobID: id, Version: 2, Status: job.Canceled, Stage: job.StageCanceled, Progress: 10}, nil
}

// A progress event that was published before the job ended may be recorded afterwards. It makes a
// newer version of the job, which the stream must not send.
func TestAStreamEndsWithItsFirstTerminalFrame(t *testing.T) {
	t.Parallel()
	source := canceled{}
	hub := watch.NewHub(source, source)
	_, mux, header := serve(t, hub)
	w := &meanwhile{deadlines: deadlines{httptest.NewRecorder()}, do: sync.OnceFunc(func() {
		later, _ := source.Find(t.Context(), id)
		later.Version, later.Progress = 3, 40
		hub.Deliver(later)
	})}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/tokens/analysis-progress/"+id, nil)
	r.Header.Set(principal.Header, header)
	mux.ServeHTTP(w, r)
	if got := w.Body.String(); strings.Count(got, "data: ") != 1 || !strings.Contains(got, `"progress":10`) {
		t.Errorf("the stream is %q", got)
	}
}

// meanwhile calls do before each write of the response.
type meanwhile struct {
	deadlines
	do func()
}

func (w *meanwhile) Write(p []byte) (int, error) {
	w.do()
	return w.deadlines.Write(p)
}

// serve returns the API, its routes, and the principal header of an admin.
func serve(t *testing.T, hub *watch.Hub) (*api.API, *httpd.Mux, string) {
	t.Helper()
	signs := principal.Config{Secret: "a-secret-of-thirty-two-bytes-0123"}
	header, err := principal.NewSigner(signs).Sign(principal.Open(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	a := api.New(api.Dependencies{Reader: still{}, Sizes: still{}, Lister: still{}, Links: still{}, Hub: hub, Controller: still{}, Eraser: still{},
		Verifier: principal.NewVerifier(signs, time.Now)},
		api.Options{Language: locale.English, Heartbeat: time.Hour, Drain: 50 * time.Millisecond})
	mux := httpd.NewMux(httpd.Info{}, health.New(nil, zerolog.Nop()), metrics.New(), zerolog.Nop())
	a.Routes(mux)
	return a, mux, header
}

// deadlines is a ResponseRecorder that accepts write deadlines.
type deadlines struct{ *httptest.ResponseRecorder }

func (deadlines) SetWriteDeadline(time.Time) error { return nil }

package e2e_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// habit is how an analysis server handles a request. The form has been parsed before.
type habit func(s *server, w http.ResponseWriter, r *http.Request)

func hookOf(r *http.Request) string { return r.Form.Get("webhook_url") }

// calls returns a habit that accepts the request, and sends one callback with the body concurrently.
func calls(body string) habit {
	return func(s *server, w http.ResponseWriter, r *http.Request) {
		hook := hookOf(r)
		w.WriteHeader(http.StatusAccepted)
		go post(s.t, hook, body)
	}
}

// answers returns a habit that answers with the status and the body.
func answers(status int, body string) habit {
	return func(_ *server, w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// server is an analysis server whose habit changes.
type server struct {
	t     *testing.T
	mu    sync.Mutex
	habit habit
	asked int // number of requests since the habit was changed
}

func (s *server) becomes(h habit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.habit, s.asked = h, 0
}

func (s *server) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// ServeHTTP implements http.Handler.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm() // an error is ignored: the test notices missing fields
	s.mu.Lock()
	h := s.habit
	s.asked++
	s.mu.Unlock()
	h(s, w, r)
}

func (s *server) front(http.Handler) http.Handler { return s }

// The timeout of requests is one second here instead of two minutes. So a server that
// blocks for longer than a second is like one that blocks for longer than two minutes.
func TestAnalysisServersOfEachHabitEndTheirJobsAndAreAskedOnce(t *testing.T) {
	t.Parallel()
	s := &server{t: t}
	w := harnesstest.Start(t, harnesstest.Options{
		Front:      s.front,
		Dispatcher: map[string]string{"ANALYSIS_REQUEST_TIMEOUT": "1s", "ANALYSIS_BREAKER_FAILURES": "100"},
	})
	const results = `{"status":"completed","analysis_results":{"a":1}}`
	for name, c := range map[string]struct {
		habit  habit
		result string
	}{
		"it blocks for longer than a request may take, and calls back then": {func(s *server, _ http.ResponseWriter, r *http.Request) {
			hook := hookOf(r)
			<-r.Context().Done()
			post(s.t, hook, results)
		}, `{"a":1}`},
		"it blocks, calls back, and answers then": {func(s *server, w http.ResponseWriter, r *http.Request) {
			post(s.t, hookOf(r), results)
			answers(http.StatusOK, `{"status":"ok"}`)(s, w, r)
		}, `{"a":1}`},
		"it blocks, calls back, and answers with the results too": {func(s *server, w http.ResponseWriter, r *http.Request) {
			post(s.t, hookOf(r), results)
			answers(http.StatusOK, `{"result":{"a":2}}`)(s, w, r)
		}, `{"a":1}`},
		"it answers with the results":              {answers(http.StatusOK, results), `{"a":1}`},
		"it answers with a result":                 {answers(http.StatusCreated, `{"status":"success","result":{"a":1}}`), `{"a":1}`},
		"it calls back with a result":              {calls(`{"status":"completed","result":{"a":1}}`), `{"a":1}`},
		"it calls back with no results at all":     {calls(`{"status":"completed"}`), `{}`},
		"it calls back once, with a status it has": {calls(`{"status":"DONE","analysis_results":[1]}`), `[1]`},
	} {
		s.becomes(c.habit)
		job := w.Upload(t, "a.wav", loadgen.Tone(220, 100*time.Millisecond))
		frames := w.Follow(w.Context(), t, job, "en")
		if end := frames[len(frames)-1]; end.Status != "completed" || string(end.Result) != c.result {
			t.Errorf("%s: the end is %+v, result %s", name, end, end.Result)
		}
		w.Settled("dispatcher-stored")
		if n := s.requests(); n != 1 {
			t.Errorf("%s: asked %d times", name, n)
		}
		if told := names(history(t, w, job)); strings.Replace(told, "dispatched 1, ", "", 1) != "received, stored, attempted 1, completed 1" {
			t.Errorf("%s: %s", name, told)
		}
	}
}

// The outage is shorter than the timeout of the request, and the callback is sent only once.
func TestTheOneCallbackThatComesWhileNATSIsAwayIsHeldAndEndsItsJob(t *testing.T) {
	t.Parallel()
	bus := testkit.New(t).Proxy(os.Getenv(testkit.EnvNATS))
	asked := &wire{}
	w := harnesstest.Start(t, harnesstest.Options{
		Front:      func(http.Handler) http.Handler { return asked.listen(http.HandlerFunc(silent)) },
		Dispatcher: map[string]string{"NATS_URL": bus.URL},
	})
	job, hook := asked.job(t, w)
	testkit.Await[event.Dispatched](w.Kit, w.Bus("test", event.Jobs()), job)
	bus.Cut()
	answered := make(chan int, 1)
	began := time.Now()
	go func() {
		status, err := (callback{body: `{"analysis_results":{"a":1}}`}).send(w.Context(), w, hook)
		if err != nil {
			t.Error(err)
		}
		answered <- status
	}()
	const away = 2 * time.Second
	select {
	case status := <-answered:
		t.Errorf("answered %d while NATS is away", status)
	case <-time.After(away): // the duration of the outage
	}
	bus.Restore()
	if status := <-answered; status != http.StatusOK || time.Since(began) < away {
		t.Errorf("answered %d after %v", status, time.Since(began))
	}
	frames := w.Follow(w.Context(), t, job, "en")
	if end := frames[len(frames)-1]; end.Status != "completed" || string(end.Result) != `{"a":1}` {
		t.Errorf("the end is %+v", end)
	}
}

// bucketOfReferences creates a bucket with one object.
func bucketOfReferences(t *testing.T, client *minio.Client, bucket, key, content string) {
	t.Helper()
	if err := client.MakeBucket(t.Context(), bucket, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.PutObject(t.Context(), bucket, key, strings.NewReader(content), int64(len(content)), minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second) // this is a cleanup: the test's context has ended
		defer cancel()
		_ = client.RemoveObject(ctx, bucket, key, minio.RemoveObjectOptions{})
		_ = client.RemoveBucket(ctx, bucket)
	})
}

// References are stored as keys without a bucket, with spaces and Korean characters. The
// objects are in a separate bucket.
func TestReferencesThatAreBareKeysOfAnotherBucketReachServersOfBothStyles(t *testing.T) {
	t.Parallel()
	const key, content = "TextGrid/감정 표현 1+2.TextGrid", "File type = \"ooTextFile\""
	for style, setting := range map[string]string{"presigned": "REFERENCE_BUCKET_NAME", "s3": "AWS_S3_BUCKET_NAME"} {
		t.Run(style, func(t *testing.T) {
			t.Parallel()
			bucket := "refs-" + strings.ToLower(rand.Text())
			s := &server{t: t}
			w := harnesstest.Start(t, harnesstest.Options{Front: s.front, Settings: map[string]string{"ANALYSIS_URL_STYLE": style, setting: bucket}})
			client, recordings := w.Bucket()
			bucketOfReferences(t, client, bucket, key, content)
			var grid, audio atomic.Value
			s.becomes(func(s *server, w http.ResponseWriter, r *http.Request) {
				grid.Store(r.Form.Get("s3_textgrid_url"))
				audio.Store(r.Form.Get("s3_audio_url"))
				answers(http.StatusOK, `{"result":{"a":1}}`)(s, w, r)
			})
			referTo(t, w, key)
			job := w.Upload(t, "녹음 1.wav", loadgen.Tone(220, 100*time.Millisecond))
			frames := w.Follow(w.Context(), t, job, "en")
			if end := frames[len(frames)-1]; end.Status != "completed" {
				t.Fatalf("the end is %+v", end)
			}
			if style == "s3" {
				if grid.Load() != "s3://"+bucket+"/"+key || !strings.HasPrefix(audio.Load().(string), "s3://"+recordings+"/audio/"+job+"_") {
					t.Errorf("asked with %q, %q", grid.Load(), audio.Load())
				}
				return
			}
			resp, err := http.Get(grid.Load().(string))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if got, err := io.ReadAll(resp.Body); err != nil || string(got) != content {
				t.Errorf("%s leads to %q, %v", resp.Request.URL.Path, got, err)
			}
		})
	}
}

// referTo sets the reference file of the token.
func referTo(t *testing.T, w *harnesstest.Env, key string) {
	t.Helper()
	body := fmt.Sprintf(`{"token_name":"sample","actor_name":"sori","start_time":0,"end_time":10,"s3_textgrid_url":%q}`, key)
	req, err := http.NewRequestWithContext(w.Context(), http.MethodPut, fmt.Sprintf("%s/tokens/%d", w.Gateway, w.Token), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := w.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("status %s", resp.Status)
	}
}

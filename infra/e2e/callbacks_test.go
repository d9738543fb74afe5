package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	analyzer "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
)

// wire is a middleware in front of the analysis server. It records the callback URLs in
// the requests, and may call a function before it passes a request on.
type wire struct {
	before func(key string) // called before a request is passed on; may be nil

	mu    sync.Mutex
	hooks map[string]string // callback URLs by the request's key: job.attempt
}

func (w *wire) listen(server http.Handler) http.Handler {
	w.hooks = map[string]string{}
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // an incomplete form has no callback URL
		r.Body = io.NopCloser(bytes.NewReader(body))
		form, _ := url.ParseQuery(string(body))
		key := r.Header.Get("Idempotency-Key")
		w.mu.Lock()
		w.hooks[key] = form.Get("webhook_url")
		w.mu.Unlock()
		if w.before != nil {
			w.before(key)
		}
		server.ServeHTTP(rw, r)
	})
}

// hook returns the callback URL of a job's attempt, or "" if the server has not received that request yet.
func (w *wire) hook(job string, attempt int) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hooks[fmt.Sprintf("%s.%d", job, attempt)]
}

// post sends JSON to a callback URL, as the analysis server does. It may be called in any
// goroutine.
func post(t *testing.T, hook, body string) (status int, answer map[string]any) {
	t.Helper()
	resp, err := http.Post(hook, "application/json", strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0, nil
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Error(err)
	}
	return resp.StatusCode, answer
}

func TestACallbackThatComesAfterTheNextAttemptHasBegunChangesNothing(t *testing.T) {
	t.Parallel()
	asked := &wire{}
	settings := impatient()
	settings["ANALYSIS_MAX_ATTEMPTS"] = "20" // on a slow machine further attempts may lapse
	w := harnesstest.Start(t, harnesstest.Options{Settings: settings, Behaviour: analyzer.Behaviour{LoseCallbacks: true}, Front: asked.listen})
	var late sync.Once
	asked.before = func(key string) {
		job, attempt, _ := strings.Cut(key, ".")
		if attempt == "1" {
			return
		}
		late.Do(func() {
			if err := w.Analyzer.Behave(analyzer.Behaviour{}); err != nil {
				t.Error(err)
			}
			for _, body := range []string{
				`{"status":"processing","progress":80}`, `{"status":"failed","error":"late"}`, `{"analysis_results":{"late":"much too late"}}`,
			} {
				if status, answer := post(t, asked.hook(job, 1), body); status != http.StatusOK || answer["received"] != true {
					t.Errorf("%s: %d %v", body, status, answer)
				}
			}
		})
	}
	job := w.Upload(t, "a.wav", loadgen.Tone(220, time.Second))
	frames := w.Follow(w.Context(), t, job, "en")
	told := names(history(t, w, job))
	harnesstest.CheckAttempts(t, frames, strings.Count(told, "attempted "))
	var r result
	w.Result(t, job, &r)
	if r.Status != "completed" || r.Result == nil || r.Result.Duration != 1 {
		t.Errorf("%+v", r)
	}
	if !strings.HasPrefix(told, "received, stored, attempted 1, dispatched 1, lapsed 1, attempted 2, ") {
		t.Error(told)
	}
}

// snapshot returns the entity tag and the body of the gateway's answer for a job.
func snapshot(t *testing.T, w *harnesstest.Env, job string) string {
	t.Helper()
	resp, err := w.Client.Get(w.Gateway + "/tokens/analysis-result/" + job)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Get("ETag") + " " + string(body)
}

func TestACallbackThatComesAfterTheEndChangesNothing(t *testing.T) {
	t.Parallel()
	asked := &wire{}
	w := harnesstest.Start(t, harnesstest.Options{Front: asked.listen})
	cancel := false
	asked.before = func(key string) {
		if job, _, _ := strings.Cut(key, "."); cancel {
			post(t, w.Gateway+"/jobs/"+job+"/cancel", "")
		}
	}
	for end, behaviour := range map[string]analyzer.Behaviour{"completed": {}, "failed": {Fail: true}, "canceled": {}} {
		cancel = end == "canceled" // no data race: no request to the server is under way now
		if err := w.Analyzer.Behave(behaviour); err != nil {
			t.Fatal(err)
		}
		job := w.Upload(t, "a.wav", loadgen.Tone(220, time.Second))
		frames := w.Follow(w.Context(), t, job, "en")
		if last := frames[len(frames)-1]; last.Status != end {
			t.Fatalf("%s: the end is %+v", end, last)
		}
		w.Settled("dispatcher-stored") // the request to the server may be handled after the end of the job
		w.Settled("tracker-projection")
		before := snapshot(t, w, job)
		for body, known := range map[string]bool{
			`{"status":"processing","progress":10}`:       false,
			`{"status":"failed","error":"late"}`:          true,
			`{"analysis_results":{"late":"after"}}`:       true,
			`{"status":"completed","analysis_results":1}`: true,
		} {
			status, answer := post(t, asked.hook(job, 1), body)
			if status != http.StatusOK || answer["received"] != true || known && answer["message"] != "이미 완료된 작업" {
				t.Errorf("%s: %s: %d %v", end, body, status, answer)
			}
		}
		w.Settled("tracker-projection")
		if after := snapshot(t, w, job); after != before {
			t.Errorf("%s: %s has become %s", end, before, after)
		}
		if h := history(t, w, job); string(h[len(h)-1].Name()) != end {
			t.Errorf("%s: %s", end, names(h))
		}
	}
	if strings.Contains(w.Logged(), `"level":"error"`) {
		t.Error("something went wrong")
	}
}

// forgeries returns forged callback URLs by description, made from the URLs of two
// jobs.
func forgeries(t *testing.T, own, other string) map[string]string {
	t.Helper()
	forged := map[string]string{}
	for name, change := range map[string]func(q, of url.Values){
		"no signature":           func(q, _ url.Values) { q.Del("sig") },
		"an invented signature":  func(q, _ url.Values) { q.Set("sig", strings.Repeat("A", len(q.Get("sig")))) },
		"another job's":          func(q, of url.Values) { q.Set("sig", of.Get("sig")) },
		"another job":            func(q, of url.Values) { q.Set("job_id", of.Get("job_id")) },
		"the next attempt":       func(q, _ url.Values) { q.Set("attempt", "2") },
		"the attempt left out":   func(q, _ url.Values) { q.Del("attempt") },
		"an attempt like it":     func(q, _ url.Values) { q.Set("attempt", "1.0") },
		"two jobs in one":        func(q, of url.Values) { q["job_id"] = []string{of.Get("job_id"), q.Get("job_id")} },
		"a signature in capital": func(q, _ url.Values) { q.Set("sig", strings.ToUpper(q.Get("sig"))) },
	} {
		u, err := url.Parse(own)
		if err != nil {
			t.Error(err)
			continue
		}
		theirs, err := url.Parse(other)
		if err != nil {
			t.Error(err)
			continue
		}
		q := u.Query()
		change(q, theirs.Query())
		u.RawQuery = q.Encode()
		forged[name] = u.String()
	}
	return forged
}

func TestAForgedCallbackIsRefusedAtBothDoorsAndChangesNothing(t *testing.T) {
	t.Parallel()
	asked := &wire{}
	w := harnesstest.Start(t, harnesstest.Options{Front: asked.listen})
	other := w.Upload(t, "a.wav", loadgen.Tone(220, time.Second))
	harnesstest.CheckFrames(t, w.Follow(w.Context(), t, other, "en"))
	tried := make(chan int, 1)
	asked.before = func(key string) { // called while the job waits for its result
		job, _, _ := strings.Cut(key, ".")
		n := 0
		for name, forged := range forgeries(t, asked.hook(job, 1), asked.hook(other, 1)) {
			for _, door := range []string{w.Dispatcher, w.Gateway} {
				hook := door + forged[strings.Index(forged, "/tokens/"):]
				status, answer := post(t, hook, `{"analysis_results":{"forged":"by somebody"}}`)
				if status != http.StatusUnauthorized || answer["code"] != "signature-invalid" || answer["detail"] == "" {
					t.Errorf("%s: %d %v", name, status, answer)
				}
				n++
			}
		}
		tried <- n
	}
	before := snapshot(t, w, other)
	job := w.Upload(t, "a.wav", loadgen.Tone(220, 2*time.Second))
	harnesstest.CheckFrames(t, w.Follow(w.Context(), t, job, "en"))
	if n := <-tried; n < 18 {
		t.Errorf("%d forgeries were tried", n)
	}
	var r result
	w.Result(t, job, &r)
	if r.Result == nil || r.Result.Duration != 2 {
		t.Errorf("%+v", r)
	}
	if after := snapshot(t, w, other); after != before {
		t.Errorf("the other job: %s has become %s", before, after)
	}
	history(t, w, job)
	history(t, w, other)
}

package harnesstest

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"

	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/shared/testkit"
	"sori.internal/shared/testkit/contract"
	"sori.internal/shared/wait"
)

// contractClient returns an HTTP client that checks every answer against the gateway's OpenAPI
// document. It does not check answers of other hosts, to which the gateway may redirect.
func (w *Env) contractClient(t *testing.T) *http.Client {
	t.Helper()
	_, text := Send(t, http.DefaultClient, http.MethodGet, w.Gateway+"/openapi.json")
	document, err := contract.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	root, err := url.Parse(w.Gateway)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Transport: &contract.Transport{
		Base: http.DefaultTransport, Document: document, Report: func(err error) { t.Error(err) }, Prefix: root.Path,
		Exempt: func(r *http.Response) bool { return r.Request.URL.Host != root.Host },
	}}
}

// Send sends a request without a body, and returns the status and the body of the response.
func Send(t *testing.T, via *http.Client, method, url string) (status int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := via.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// Upload sends a recording as a multipart form, as a browser does, and returns the job's id. It repeats
// the upload, with the same idempotency key, while the failure is retryable: on a busy machine the wait of
// an upload for the database or for NATS may time out.
func (w *Env) Upload(t *testing.T, name string, audio []byte) (job string) {
	t.Helper()
	key := rand.Text()
	testkit.Eventually(t, func() (err error) {
		form := loadgen.RecordingOf(name, audio).Form()
		form.Key = key
		job, err = w.API.Upload(w.Context(), w.Token, form)
		p, answered := errors.AsType[*client.Problem](err)
		switch {
		case answered && (p.Retryable() || p.Code == "idempotency-key-in-use"):
			t.Logf("the upload is sent again: %v", err)
			_ = wait.For(w.Context(), time.Second)
		case err != nil:
			t.Fatal(err)
		}
		return err
	})
	return job
}

// Result reads a job's result, in the default language, and decodes it into the parameter into.
func (w *Env) Result(t *testing.T, job string, into any) {
	t.Helper()
	w.ResultIn(t, job, "", into)
}

// ResultIn reads a job's result, in the given language, and decodes it into the parameter into.
func (w *Env) ResultIn(t *testing.T, job, language string, into any) {
	t.Helper()
	_, err := w.API.Do(w.Context(), client.Request{
		Path: "/tokens/analysis-result/" + job, Header: map[string]string{"Accept-Language": language}, Into: into,
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Watch opens a job's progress stream, in the given language.
func (w *Env) Watch(ctx context.Context, t *testing.T, job, language string) io.ReadCloser {
	t.Helper()
	stream, err := w.API.Stream(ctx, job, "", language)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// Follow reads a progress stream to its end, in the given language.
func (w *Env) Follow(ctx context.Context, t *testing.T, job, language string) []client.Job {
	t.Helper()
	stream := w.Watch(ctx, t, job, language)
	defer stream.Close()
	frames, err := client.Frames(stream)
	if err != nil {
		t.Fatal(err)
	}
	return frames
}

// CheckFrames checks the stream of a completed job: the progress never goes back, and only
// the last frame is terminal. The last frame contains the result.
func CheckFrames(t *testing.T, frames []client.Job) {
	t.Helper()
	CheckAttempts(t, frames, 1)
}

// CheckAttempts is like CheckFrames, for a job with several attempts: its progress may go back with
// every attempt after the first one.
func CheckAttempts(t *testing.T, frames []client.Job, attempts int) {
	t.Helper()
	if len(frames) == 0 {
		t.Fatal("no frames")
	}
	drops := 0
	for i, f := range frames {
		last := i == len(frames)-1
		if f.Terminal() != last {
			t.Errorf("frame %d of %d has the status %s", i+1, len(frames), f.Status)
		}
		if i > 0 && f.Progress < frames[i-1].Progress {
			if drops++; drops >= attempts {
				t.Errorf("progress goes back from %d to %d, for the %d. time in %d attempts", frames[i-1].Progress, f.Progress, drops, attempts)
			}
		}
	}
	end := frames[len(frames)-1]
	if end.Status != "completed" || end.Progress != 100 || len(end.Result) < 10 {
		t.Errorf("the end is %+v", end)
	}
}

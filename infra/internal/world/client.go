package world

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"testing"
	"time"

	"sori.internal/infra/internal/sse"
	"sori.internal/shared/testkit/contract"
)

// Frame is one event of a progress stream.
type Frame struct {
	ID       string          `json:"-"`
	JobID    string          `json:"job_id"`
	Status   string          `json:"status"`
	Progress int             `json:"progress"`
	Message  string          `json:"message"`
	NextTry  time.Time       `json:"next_attempt_at"`
	Refused  string          `json:"refused_code"`
	Result   json.RawMessage `json:"result"`
	Error    *struct {
		Code, Detail string
		Retryable    bool
	} `json:"error"`
}

// Terminal reports whether a stream ends with the frame.
func (f Frame) Terminal() bool {
	return f.Status == "completed" || f.Status == "failed" || f.Status == "canceled"
}

// client makes the client of a test. What other hosts answer, to which the gateway
// may lead, is not its to judge.
func (w *World) client(t *testing.T) *http.Client {
	t.Helper()
	resp, err := http.Get(w.Gateway + "/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	document, err := contract.Parse(text)
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

// Upload sends a recording as a browser would and returns the job's id.
func (w *World) Upload(t *testing.T, name string, audio []byte) string {
	t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("file", name)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = part.Write(audio)
	_ = form.Close()
	resp, err := w.Client.Post(fmt.Sprintf("%s/tokens/%d/upload-audio", w.Gateway, w.Token), form.FormDataContentType(), &body)
	if err != nil {
		t.Fatal(err)
	}
	var accepted struct {
		JobID string `json:"job_id"`
	}
	decode(t, resp, http.StatusAccepted, &accepted)
	return accepted.JobID
}

func decode(t *testing.T, resp *http.Response, status int, into any) {
	t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != status {
		t.Fatalf("status %s: %s", resp.Status, body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
}

// Result reads a job, in the language that is spoken where none is asked for.
func (w *World) Result(t *testing.T, job string, into any) {
	t.Helper()
	w.ResultIn(t, job, "", into)
}

// ResultIn reads a job in the given language.
func (w *World) ResultIn(t *testing.T, job, language string, into any) {
	t.Helper()
	decode(t, w.get(w.Context(), t, "/tokens/analysis-result/"+job, language), http.StatusOK, into)
}

// Watch opens a progress stream, in the given language.
func (w *World) Watch(ctx context.Context, t *testing.T, job, language string) io.ReadCloser {
	t.Helper()
	resp := w.get(ctx, t, "/tokens/analysis-progress/"+job, language)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("status %s", resp.Status)
	}
	return resp.Body
}

// Follow reads a progress stream to its end, in the given language.
func (w *World) Follow(ctx context.Context, t *testing.T, job, language string) []Frame {
	t.Helper()
	stream := w.Watch(ctx, t, job, language)
	defer stream.Close()
	frames, err := ReadFrames(stream)
	if err != nil {
		t.Fatal(err)
	}
	return frames
}

// CheckFrames checks what the stream of a completed job promises: the progress never
// goes back, and the last frame alone is terminal and has the result.
func CheckFrames(t *testing.T, frames []Frame) {
	t.Helper()
	if len(frames) == 0 {
		t.Fatal("no frames")
	}
	for i, f := range frames {
		last := i == len(frames)-1
		if f.Terminal() != last {
			t.Errorf("frame %d of %d has the status %s", i+1, len(frames), f.Status)
		}
		if i > 0 && f.Progress < frames[i-1].Progress {
			t.Errorf("progress goes back from %d to %d", frames[i-1].Progress, f.Progress)
		}
	}
	end := frames[len(frames)-1]
	if end.Status != "completed" || end.Progress != 100 || len(end.Result) < 10 {
		t.Errorf("the end is %+v", end)
	}
}

func (w *World) get(ctx context.Context, t *testing.T, path, language string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.Gateway+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Language", language)
	resp, err := w.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// ReadFrames reads the frames of an event stream until it ends.
func ReadFrames(stream io.Reader) ([]Frame, error) {
	var frames []Frame
	err := sse.Read(stream, "", func(e sse.Event) error {
		f := Frame{ID: e.ID}
		if err := json.Unmarshal([]byte(e.Data), &f); err != nil {
			return fmt.Errorf("read frame %q: %w", e.Data, err)
		}
		frames = append(frames, f)
		return nil
	})
	return frames, err
}

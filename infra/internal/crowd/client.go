package crowd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"time"

	"sori.internal/infra/internal/sse"
	"sori.internal/infra/internal/tone"
	"sori.internal/infra/internal/world"
)

// Recording is the body of an upload.
type Recording struct {
	body        []byte
	contentType string
}

// NewRecording makes a form with a tone of the given length.
func NewRecording(length time.Duration) Recording {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, _ := form.CreateFormFile("file", "tone.wav") // into memory: it cannot fail
	_, _ = part.Write(tone.WAV(220, length))
	_ = form.Close()
	return Recording{body.Bytes(), form.FormDataContentType()}
}

// Client talks to several gateways by turns. It is safe for concurrent use.
type Client struct {
	gateways []string
	http     *http.Client
}

// NewClient makes a client of the gateways at these URLs.
func NewClient(gateways []string) *Client {
	return &Client{gateways: gateways, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
}

// gateway is the one whose turn is the n-th.
func (c *Client) gateway(n int) string { return c.gateways[n%len(c.gateways)] }

// Upload uploads once, to the gateway whose turn is the n-th. It returns the job,
// or the code with which the service said properly that it cannot take one now;
// any other answer is an error.
func (c *Client) Upload(ctx context.Context, n int, r Recording) (job, code string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.gateway(n)+"/tokens/1/upload-audio", bytes.NewReader(r.body))
	if err != nil {
		return "", "", err
	}
	req.Header.Set("Content-Type", r.contentType)
	resp, err := c.http.Do(req)
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", "", err
	}
	var answer struct {
		JobID string `json:"job_id"`
		Code  string `json:"code"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return "", "", err
	}
	again := resp.Header.Get("Retry-After")
	switch {
	case resp.StatusCode == http.StatusAccepted && answer.JobID != "":
		return answer.JobID, "", nil
	case resp.StatusCode == http.StatusServiceUnavailable && answer.Code != "" && again != "":
		return "", answer.Code, nil
	default:
		return "", "", fmt.Errorf("an upload is answered with %s, Retry-After %q: %s", resp.Status, again, text)
	}
}

// reconnectAfter is how long an EventSource waits before it comes back.
const reconnectAfter = 500 * time.Millisecond

// Watch follows a job to its end as an EventSource does, which comes back with
// the last id that it saw whenever its stream ends before the job does, here to
// the next gateway. An error says what such a viewer may never see.
func (c *Client) Watch(ctx context.Context, job string) error {
	v := &viewer{job: job, progress: -1}
	for n := 0; !v.ended; n++ {
		if err := v.follow(ctx, c.http, c.gateway(n)); err != nil {
			return errors.Join(v.wrong, err)
		}
		wait := time.NewTimer(reconnectAfter)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return errors.Join(v.wrong, fmt.Errorf("missed its end: %w", ctx.Err()))
		}
	}
	return v.wrong
}

// viewer is what one viewer has seen.
type viewer struct {
	job      string
	lastID   string
	progress int
	ended    bool
	wrong    error // what went back
}

// follow reads one stream to its end. That the service is away for now is no
// error, and neither is a stream that ends early.
func (v *viewer) follow(ctx context.Context, client *http.Client, gateway string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, gateway+"/tokens/analysis-progress/"+v.job, nil)
	if err != nil {
		return err
	}
	if v.lastID != "" {
		req.Header.Set("Last-Event-ID", v.lastID)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusServiceUnavailable:
		return nil
	default:
		return fmt.Errorf("status %s, after the id %q", resp.Status, v.lastID)
	}
	var unreadable error
	_ = sse.Read(resp.Body, v.lastID, func(e sse.Event) error { // cut or whole: it comes back where the end is missing
		var f world.Frame
		if unreadable = json.Unmarshal([]byte(e.Data), &f); unreadable == nil {
			v.see(f, e.ID)
		}
		return unreadable
	})
	return unreadable
}

func (v *viewer) see(f world.Frame, id string) {
	if f.Progress < v.progress {
		v.wrong = errors.Join(v.wrong, fmt.Errorf("progress went back from %d to %d", v.progress, f.Progress))
	}
	v.lastID, v.progress, v.ended = id, f.Progress, f.Terminal()
}

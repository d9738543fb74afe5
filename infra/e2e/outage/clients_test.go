package outage_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sori.internal/infra/internal/fleet"
	"sori.internal/infra/internal/world"
)

// The pace of the clients. Uploads come steadily and not as fast as they can.
const (
	uploaders   = 3
	uploadEvery = 400 * time.Millisecond
	watchedOf   = 4 // of so many jobs one is watched
	largeOf     = 5 // and one is of several chunks

	// uploadTakes is the longest that a client may be kept waiting, in an outage
	// too; generous, since the machine is shared.
	uploadTakes = 13 * time.Second
)

// crowd is clients that upload and watch.
type crowd struct {
	c     *town
	http  *http.Client
	small upload
	large upload
	stop  context.CancelFunc

	uploading, watching sync.WaitGroup

	mu      sync.Mutex
	jobs    []string
	refused map[string]int // 503s, by code
	longest time.Duration  // an upload took
}

// upload is a request's body.
type upload struct {
	body        []byte
	contentType string
}

func newUpload(length time.Duration) upload {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, _ := form.CreateFormFile("file", "tone.wav")
	_, _ = part.Write(world.Tone(220, length))
	_ = form.Close()
	return upload{body.Bytes(), form.FormDataContentType()}
}

// gather begins to upload from several clients, until disperse.
func gather(c *town) *crowd {
	g := &crowd{
		c: c, refused: map[string]int{}, small: newUpload(time.Second), large: newUpload(25 * time.Second),
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}
	ctx, cancel := context.WithCancel(c.ctx)
	g.stop = cancel
	for i := range uploaders {
		g.uploading.Go(func() { g.uploadOn(ctx, i) })
	}
	c.t.Cleanup(func() {
		cancel()
		g.uploading.Wait()
		g.http.CloseIdleConnections()
	})
	return g
}

// disperse stops the uploads and returns the jobs that were accepted.
func (g *crowd) disperse() []string {
	g.stop()
	g.uploading.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.c.t.Logf("%d uploads were accepted, and put off: %v; the longest took %v", len(g.jobs), g.refused, g.longest)
	return append([]string(nil), g.jobs...)
}

// accepted is how many uploads were accepted so far.
func (g *crowd) accepted() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.jobs)
}

func (g *crowd) uploadOn(ctx context.Context, client int) {
	tick := time.NewTicker(uploadEvery)
	defer tick.Stop()
	for n := client; ; n++ {
		if job := g.uploadOnce(n); job != "" && n%watchedOf == 0 {
			g.watching.Go(func() { g.view(job) })
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// uploadOnce returns the job of an upload that was accepted. One that was not
// must have been put off properly.
func (g *crowd) uploadOnce(n int) string {
	u := g.small
	if n%largeOf == 0 {
		u = g.large
	}
	copies := g.c.fleet.Processes(fleet.Gateway)
	began := time.Now()
	job, code, err := g.send(g.c.ctx, copies[n%len(copies)].URL(), u)
	took := time.Since(began)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.longest = max(g.longest, took)
	if took > uploadTakes {
		g.c.t.Errorf("an upload took %v: job %q, %v", took, job, err)
	}
	if err != nil {
		g.c.t.Error(err)
	} else if job == "" {
		g.refused[code]++
	} else {
		g.jobs = append(g.jobs, job)
	}
	return job
}

// send uploads once. It returns the job, or the code with which the service said
// properly that it cannot take one now; any other answer is an error.
func (g *crowd) send(ctx context.Context, gateway string, u upload) (job, code string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, gateway+"/tokens/1/upload-audio", bytes.NewReader(u.body))
	if err != nil {
		return "", "", err
	}
	req.Header.Set("Content-Type", u.contentType)
	resp, err := g.http.Do(req)
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

// view follows a job to its end as an EventSource does, which comes back with
// the last id that it saw whenever its stream ends before the job does.
func (g *crowd) view(job string) {
	v := &viewer{t: g.c.t, job: job, progress: -1}
	for n := 0; !v.ended; n++ {
		copies := g.c.fleet.Processes(fleet.Gateway)
		if err := v.follow(g.c.ctx, g.http, copies[n%len(copies)].URL()); err != nil {
			g.c.t.Errorf("the viewer of job %s: %v", job, err)
			return
		}
		wait := time.NewTimer(reconnectAfter)
		select {
		case <-wait.C:
		case <-g.c.ctx.Done():
			wait.Stop()
			g.c.t.Errorf("the viewer of job %s missed its end", job)
			return
		}
	}
}

// viewer is what one viewer has seen.
type viewer struct {
	t        *testing.T
	job      string
	lastID   string
	progress int
	ended    bool
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
	lines := bufio.NewScanner(resp.Body)
	id := v.lastID
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "id":
			id = value
		case "data":
			var f world.Frame
			if err := json.Unmarshal([]byte(value), &f); err != nil {
				return err
			}
			if f.Progress < v.progress {
				v.t.Errorf("job %s went back from %d to %d", v.job, v.progress, f.Progress)
			}
			v.lastID, v.progress, v.ended = id, f.Progress, f.Terminal()
		}
	}
	return nil // cut or whole: it comes back where the end is missing
}

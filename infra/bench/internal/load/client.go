package load

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// ErrNoEnd says that a stream ended before its job did.
var ErrNoEnd = errors.New("the stream ended before the job did")

// Client talks to a gateway as a frontend does. It is safe for concurrent use.
type Client struct {
	base    string
	uploads *http.Client
	streams *http.Client
}

// NewClient makes a client of the gateway at base that keeps as many connections as there are concurrent uploads. Every
// stream has a connection of its own, as from as many browsers.
func NewClient(base string, concurrent int) *Client {
	return &Client{
		base: base,
		uploads: &http.Client{Transport: &http.Transport{
			MaxIdleConns: 0, MaxIdleConnsPerHost: concurrent, WriteBufferSize: 64 << 10, DisableCompression: true,
		}},
		streams: &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}},
	}
}

// Close lets go of idle connections.
func (c *Client) Close() {
	c.uploads.CloseIdleConnections()
	c.streams.CloseIdleConnections()
}

// Token makes a token to upload to.
func (c *Client) Token(ctx context.Context) (int64, error) {
	body := []byte(`{"token_name":"bench","actor_name":"bench","category":"bench","start_time":0,"end_time":10}`)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/tokens/", bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("make a token: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	var made struct {
		ID int64 `json:"id"`
	}
	if err := c.answer(req, &made); err != nil {
		return 0, fmt.Errorf("make a token: %w", err)
	}

	return made.ID, nil
}

// Upload uploads the n-th recording and returns the id of its job.
func (c *Client) Upload(ctx context.Context, token int64, a *Audio, n uint64) (string, error) {
	body, length, contentType := a.form(n)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost,
		c.base+"/tokens/"+strconv.FormatInt(token, 10)+"/upload-audio", io.NopCloser(body))
	if err != nil {
		return "", fmt.Errorf("upload: %w", err)
	}
	req.ContentLength = length
	req.Header.Set("Content-Type", contentType)
	var accepted struct {
		JobID string `json:"job_id"`
	}
	if err := c.answer(req, &accepted); err != nil {
		return "", fmt.Errorf("upload: %w", err)
	}

	return accepted.JobID, nil
}

// Status asks for a job once.
func (c *Client) Status(ctx context.Context, job string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/tokens/analysis-result/"+job, nil)
	if err != nil {
		return "", fmt.Errorf("ask for job %s: %w", job, err)
	}
	var f Frame
	if err := c.answer(req, &f); err != nil {
		return "", fmt.Errorf("ask for job %s: %w", job, err)
	}

	return f.Status, nil
}

// Jobs lists jobs, and returns how many they are and the cursor of the next page; empty where there is none.
func (c *Client) Jobs(ctx context.Context, query url.Values) (found int, next string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/jobs/?"+query.Encode(), nil)
	if err != nil {
		return 0, "", fmt.Errorf("list jobs: %w", err)
	}
	var page struct {
		Jobs       []Frame `json:"jobs"`
		NextCursor string  `json:"next_cursor"`
	}
	if err := c.answer(req, &page); err != nil {
		return 0, "", fmt.Errorf("list jobs: %w", err)
	}

	return len(page.Jobs), page.NextCursor, nil
}

// answer does a request and decodes what comes back; a refusal is an error.
func (c *Client) answer(req *http.Request, to any) error {
	resp, err := c.uploads.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("status %d: %s", resp.StatusCode, text)
	}
	if err := json.Unmarshal(text, to); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}

	return nil
}

// Frame is what a progress stream tells.
type Frame struct {
	JobID    string `json:"job_id"`
	Status   string `json:"status"`
	Progress int    `json:"progress"`

	At time.Time `json:"-"` // when it arrived
}

// The statuses of a job.
const (
	processing = "processing"
	Completed  = "completed"
)

// Ended tells whether nothing follows.
func (f Frame) Ended() bool { return f.Status != processing }

// Follow opens a job's progress stream and hands every frame to see, until the one that ends the job.
func (c *Client) Follow(ctx context.Context, job string, see func(Frame)) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/tokens/analysis-progress/"+job, nil)
	if err != nil {
		return fmt.Errorf("follow job %s: %w", job, err)
	}
	resp, err := c.streams.Do(req)
	if err != nil {
		return fmt.Errorf("follow job %s: %w", job, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("follow job %s: status %d", job, resp.StatusCode)
	}
	if err := frames(resp.Body, see); err != nil {
		return fmt.Errorf("follow job %s: %w", job, err)
	}

	return nil
}

// frames reads a stream until the frame that ends its job.
func frames(body io.Reader, see func(Frame)) error {
	lines := bufio.NewReaderSize(body, 1<<10)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return ErrNoEnd
		}
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		data, found := bytes.CutPrefix(line, []byte("data: "))
		if !found {
			continue
		}
		f := Frame{At: time.Now()}
		if err := json.Unmarshal(data, &f); err != nil {
			return fmt.Errorf("read a frame: %w", err)
		}
		see(f)
		if f.Ended() {
			return nil
		}
	}
}

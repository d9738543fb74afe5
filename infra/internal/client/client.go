// Package client is a client of Sori's HTTP API, with a reader of its server-sent events. The
// tests, the load generators and the commands use it.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Client sends requests to one gateway or service. It is safe for concurrent use.
type Client struct {
	Base    string       // URL of the API, without a trailing slash
	HTTP    *http.Client // http.DefaultClient if it is nil
	Streams *http.Client // for event streams; HTTP if it is nil
}

// Close closes idle connections.
func (c *Client) Close() {
	c.requests().CloseIdleConnections()
	c.streams().CloseIdleConnections()
}

func (c *Client) requests() *http.Client {
	if c.HTTP == nil {
		return http.DefaultClient
	}
	return c.HTTP
}

func (c *Client) streams() *http.Client {
	if c.Streams == nil {
		return c.requests()
	}
	return c.Streams
}

// Request is one request and the answer that it wants.
type Request struct {
	Method string // GET if it is empty
	Path   string // with the query
	Header map[string]string
	Body   io.Reader
	Length int64 // of Body, if it is not known from its type
	Want   int   // the status of success; 200 if it is 0
	Into   any   // gets the decoded answer, unless it is nil
}

// Problem is an answer other than the wanted one.
type Problem struct {
	Status     int    `json:"-"`
	RetryAfter string `json:"-"`
	Body       []byte `json:"-"`

	Code          string `json:"code"`
	Detail        string `json:"detail"`
	CurrentStatus string `json:"current_status"` // of a job, if the job's status is the reason
}

// Error implements error.
func (p *Problem) Error() string {
	return fmt.Sprintf("status %d, Retry-After %q: %s", p.Status, p.RetryAfter, p.Body)
}

// PutOff reports whether the answer says in the specified way that the client may try again.
func (p *Problem) PutOff() bool {
	// 408 is the answer to a body that stalled.
	return p.Status == http.StatusServiceUnavailable && p.RetryAfter != "" || p.Status == http.StatusRequestTimeout
}

// maxAnswer bounds an answer, in bytes.
const maxAnswer = 32 << 20

// Do sends a request and decodes the answer. An answer other than the wanted one is a *Problem;
// every other error means that there was no whole answer.
func (c *Client) Do(ctx context.Context, r Request) (http.Header, error) {
	resp, err := c.send(ctx, c.requests(), r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%s %s: read the answer: %w", r.Method, r.Path, err)
	}
	if r.Into != nil && json.Unmarshal(body, r.Into) != nil {
		return nil, problem(resp, body)
	}
	return resp.Header, nil
}

// send sends a request and returns the answer if its status is the wanted one.
func (c *Client) send(ctx context.Context, via *http.Client, r Request) (*http.Response, error) {
	if r.Method == "" {
		r.Method = http.MethodGet
	}
	if r.Want == 0 {
		r.Want = http.StatusOK
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, c.Base+r.Path, r.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", r.Method, r.Path, err)
	}
	if r.Length > 0 {
		req.ContentLength = r.Length
	}
	for name, value := range r.Header {
		req.Header.Set(name, value)
	}
	resp, err := via.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", r.Method, r.Path, err)
	}
	if resp.StatusCode == r.Want {
		return resp, nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%s %s: read the answer: %w", r.Method, r.Path, err)
	}
	return nil, problem(resp, body)
}

func problem(resp *http.Response, body []byte) *Problem {
	p := &Problem{Status: resp.StatusCode, RetryAfter: resp.Header.Get("Retry-After"), Body: body}
	_ = json.Unmarshal(body, p) // an answer that is no problem document has no code
	return p
}

// JSON is a request's body and header.
func JSON(r Request, value any) (Request, error) {
	body, err := json.Marshal(value)
	if err != nil {
		return r, fmt.Errorf("%s %s: %w", r.Method, r.Path, err)
	}
	r.Header, r.Body = map[string]string{"Content-Type": "application/json"}, bytes.NewReader(body)
	return r, nil
}

// CreateToken creates a token to upload to, and returns its id.
func (c *Client) CreateToken(ctx context.Context, category string) (int64, error) {
	var created struct {
		ID int64 `json:"id"`
	}
	r := Request{Method: http.MethodPost, Path: "/tokens/", Want: http.StatusCreated, Into: &created}
	r, err := JSON(r, struct {
		Name     string  `json:"token_name"`
		Actor    string  `json:"actor_name"`
		Category string  `json:"category,omitempty"`
		Start    float64 `json:"start_time"`
		End      float64 `json:"end_time"`
	}{"sample", "sori", category, 0, 10})
	if err != nil {
		return 0, err
	}
	if _, err := c.Do(ctx, r); err != nil {
		return 0, fmt.Errorf("create a token: %w", err)
	}
	return created.ID, nil
}

// Form is the multipart body of an upload.
type Form struct {
	Body        io.Reader
	Length      int64
	ContentType string
	Key         string // the Idempotency-Key; none if it is empty
}

// Upload uploads a recording once, and returns the id of its job.
func (c *Client) Upload(ctx context.Context, token int64, f Form) (job string, err error) {
	var accepted Job
	r := Request{
		Method: http.MethodPost, Path: "/tokens/" + strconv.FormatInt(token, 10) + "/upload-audio", Body: f.Body, Length: f.Length,
		Header: map[string]string{"Content-Type": f.ContentType}, Want: http.StatusAccepted, Into: &accepted,
	}
	if f.Key != "" {
		r.Header["Idempotency-Key"] = strconv.Quote(f.Key)
	}
	if _, err := c.Do(ctx, r); err != nil {
		return "", fmt.Errorf("upload: %w", err)
	}
	if accepted.JobID == "" {
		return "", fmt.Errorf("upload: %w", &Problem{Status: http.StatusAccepted, Body: []byte("no job_id")})
	}
	return accepted.JobID, nil
}

// Job is a job as the API shows it: as a frame of a stream and as a result.
type Job struct {
	ID string    `json:"-"` // of the event; of a result, the version in its entity tag
	At time.Time `json:"-"` // of the arrival

	JobID    string          `json:"job_id"`
	Status   string          `json:"status"`
	Stage    string          `json:"stage"`
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

// The statuses of a job.
const (
	Processing = "processing"
	Completed  = "completed"
	Failed     = "failed"
	Canceled   = "canceled"
	Erased     = "erased" // which no answer has: an erased job is gone
)

// Terminal reports whether the job has ended, and with it its stream.
func (j Job) Terminal() bool {
	return j.Status == Completed || j.Status == Failed || j.Status == Canceled
}

// Job reads a job's result. With a wait the answer is held until the job has changed.
func (c *Client) Job(ctx context.Context, job string, wait time.Duration) (Job, error) {
	path := "/tokens/analysis-result/" + job
	if wait > 0 {
		path += "?wait=" + strconv.Itoa(int(wait.Seconds()))
	}
	var j Job
	header, err := c.Do(ctx, Request{Path: path, Into: &j})
	if err != nil {
		return Job{}, fmt.Errorf("read job %s: %w", job, err)
	}
	j.ID, _, _ = strings.Cut(strings.TrimPrefix(header.Get("ETag"), `"`), "-")
	j.At = time.Now()
	return j, nil
}

// Page is a page of the list of jobs.
type Page struct {
	Jobs []Job  `json:"jobs"`
	Next string `json:"next_cursor"` // empty on the last page
}

// Jobs lists jobs.
func (c *Client) Jobs(ctx context.Context, query url.Values) (p Page, err error) {
	if _, err = c.Do(ctx, Request{Path: "/jobs/?" + query.Encode(), Into: &p}); err != nil {
		return Page{}, fmt.Errorf("list jobs: %w", err)
	}
	return p, nil
}

// Control asks to "cancel" or to "retry" a job. force retries a job whose failure is lasting.
func (c *Client) Control(ctx context.Context, job, action string, force bool) error {
	path := "/jobs/" + job + "/" + action
	if force {
		path += "?force=true"
	}
	_, err := c.Do(ctx, Request{Method: http.MethodPost, Path: path, Body: http.NoBody, Want: http.StatusAccepted})
	return err
}

// Erase erases a job.
func (c *Client) Erase(ctx context.Context, job string) error {
	_, err := c.Do(ctx, Request{Method: http.MethodDelete, Path: "/jobs/" + job, Body: http.NoBody})
	return err
}

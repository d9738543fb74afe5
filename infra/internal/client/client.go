// Package client is a client of Sori's HTTP API, with a reader of its server-sent events. Tests, the
// load generator and commands use it.
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

	Credential string // a token or an API key that every request sends; none if it is empty
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

// Request is one request, with the expected response.
type Request struct {
	Method string // GET if it is empty
	Path   string // path with the query
	Header map[string]string
	Body   io.Reader
	Length int64 // length of Body in bytes, if net/http does not know it from the type of Body
	Want   int   // the expected status; 0 means 200
	Into   any   // a pointer for the decoded JSON of the response, or nil
}

// Problem is the error for a response with an unexpected status, or with a body that cannot be decoded.
type Problem struct {
	Status     int    `json:"-"`
	RetryAfter string `json:"-"`
	Body       []byte `json:"-"`

	Code          string `json:"code"`
	Detail        string `json:"detail"`
	CurrentStatus string `json:"current_status"` // status of the job, if the request was refused because of it
}

// Error implements error.
func (p *Problem) Error() string {
	return fmt.Sprintf("status %d, Retry-After %q: %s", p.Status, p.RetryAfter, p.Body)
}

// Retryable reports whether the response, according to the API, means that the client should send the request again later.
func (p *Problem) Retryable() bool {
	// 408 is the answer if no more of the request body arrives.
	later := p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests
	return later && p.RetryAfter != "" || p.Status == http.StatusRequestTimeout
}

// maxAnswer is how many bytes of an answer's body are read at most.
const maxAnswer = 32 << 20

// Do sends a request, decodes the response and returns its header. For an unexpected response the error is
// a *Problem; any other error means that no complete response arrived.
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

// send sends a request and returns the answer if it has the expected status, else a *Problem.
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
	if c.Credential != "" {
		req.Header.Set("Authorization", "Bearer "+c.Credential)
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
	_ = json.Unmarshal(body, p) // Code stays empty if the body is no problem document
	return p
}

// JSON returns the request with the value as its JSON body and with the Content-Type header.
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
	Key         string // the Idempotency-Key; empty means no header
	Fresh       bool   // the recording must be analysed, even if a result is cached
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
	if f.Fresh {
		r.Header["Cache-Control"] = "no-cache"
	}
	if _, err := c.Do(ctx, r); err != nil {
		return "", fmt.Errorf("upload: %w", err)
	}
	if accepted.JobID == "" {
		return "", fmt.Errorf("upload: %w", &Problem{Status: http.StatusAccepted, Body: []byte("no job_id")})
	}
	return accepted.JobID, nil
}

// Job is a job as the API returns it, in the frame of a stream or as a result.
type Job struct {
	ID string    `json:"-"` // the id of the event or, for a result, the version in its ETag
	At time.Time `json:"-"` // time at which the frame or the result arrived

	JobID    string          `json:"job_id"`
	Status   string          `json:"status"`
	Stage    string          `json:"stage"`
	Progress int             `json:"progress"`
	Message  string          `json:"message"`
	NextTry  time.Time       `json:"next_attempt_at"`
	Refused  string          `json:"refused_code"`
	Result   json.RawMessage `json:"result"`
	Cached   bool            `json:"cached"`
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
	Erased     = "erased" // never in a response: for an erased job the API responds with 410
)

// Terminal reports whether the job has ended. Its frame is then the last of the stream.
func (j Job) Terminal() bool {
	return j.Status == Completed || j.Status == Failed || j.Status == Canceled
}

// Job reads a job's result. If wait is positive, the gateway delays the response until the job has changed, at most for wait.
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

// Control requests the action "cancel" or "retry" for a job. If force is set, a retry is allowed even if the job's failure is
// not retryable.
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

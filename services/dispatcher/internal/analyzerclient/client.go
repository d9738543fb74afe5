// Package analyzerclient is the HTTP client of the analysis server.
//
// Analysis requests pass through a circuit breaker, which all jobs of the process share. Polls of
// the status URL and cancellations do not pass through the breaker.
package analyzerclient

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/shared/fault"
	"sori.internal/shared/trace"
)

// Format is the encoding of a request.
type Format string

// The formats.
const (
	Form Format = "form" // application/x-www-form-urlencoded
	JSON Format = "json"
)

// UnmarshalText parses the setting ANALYSIS_REQUEST_FORMAT.
func (f *Format) UnmarshalText(text []byte) error {
	switch format := Format(text); format {
	case Form, JSON:
		*f = format
		return nil
	default:
		return fmt.Errorf("format %q is neither form nor json", text)
	}
}

// Client sends requests to the analysis server and polls its status URL.
type Client struct {
	url            string
	format         Format
	userAgent      string
	http           *http.Client
	semaphore      chan struct{} // limits concurrent requests
	presigned      bool          // requests contain presigned URLs
	breaker        *breaker
	status         StatusURL
	maxAnswerBytes int64 // largest body of an acceptance or of an answer of the status URL
}

// Options has the settings of the operator.
type Options struct {
	Target          *url.URL
	Format          Format
	UserAgent       string
	Timeout         time.Duration // time limit of one request
	Concurrency     int           // largest number of concurrent requests
	BreakerFailures int           // consecutive failures that open the circuit breaker
	BreakerDelay    time.Duration // how long the breaker stays open if the server sends no Retry-After
	Presigned       bool          // requests contain presigned URLs
	Status          StatusURL
	MaxStatusBytes  int64 // largest body of an acceptance or of an answer of the status URL, in bytes
	Log             zerolog.Logger
}

// New makes a client. It does not connect.
func New(o Options) *Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = o.Concurrency
	return &Client{
		url: o.Target.String(), format: o.Format, userAgent: o.UserAgent, semaphore: make(chan struct{}, o.Concurrency),
		presigned: o.Presigned,
		breaker:   newBreaker(o.BreakerFailures, o.BreakerDelay, o.Log), status: o.Status, maxAnswerBytes: o.MaxStatusBytes,
		http: &http.Client{Transport: transport, Timeout: o.Timeout, CheckRedirect: followSameMethod},
	}
}

// followSameMethod follows a redirect only if the method stays the same, at most five times. For a
// POST, only the statuses 307 and 308 keep the method. After any other redirect a POST would become
// a GET without the body, and a 200 for that GET would not mean acceptance.
func followSameMethod(next *http.Request, via []*http.Request) error {
	if next.Method != via[0].Method || len(via) > 5 {
		return http.ErrUseLastResponse
	}
	return nil
}

// BreakerOpen returns 1 while the circuit breaker is open or half-open, and 0 while it is closed,
// for the metrics.
func (c *Client) BreakerOpen() float64 { return c.breaker.gauge() }

// Paused implements analysis.Analyzer.
func (c *Client) Paused() time.Duration { return c.breaker.paused() }

// Submit implements analysis.Analyzer. While the circuit breaker is open, Submit sends nothing and
// returns an error with RetryAfter.
func (c *Client) Submit(ctx context.Context, r analysis.Request) (analysis.Acceptance, error) {
	body, contentType, err := c.encode(r)
	if err != nil {
		return analysis.Acceptance{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return analysis.Acceptance{}, fmt.Errorf("send an analysis request: %w", err)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.userAgent)
	req.Header.Set("Idempotency-Key", r.JobID+"."+strconv.Itoa(r.Attempt))
	req.Header.Set(trace.Header, trace.Parent(ctx))
	select {
	case c.semaphore <- struct{}{}:
		defer func() { <-c.semaphore }()
	case <-ctx.Done():
		return analysis.Acceptance{}, unavailable(fmt.Errorf("wait to send an analysis request: %w", ctx.Err()), 0)
	}
	return throughBreaker(ctx, c.breaker, func() (analysis.Acceptance, error) { return c.post(req, r.JobID) })
}

func (c *Client) post(req *http.Request, job string) (analysis.Acceptance, error) {
	var written atomic.Bool // if the whole request was written, the server may have accepted it
	var writes atomic.Int32 // how often the whole request was written
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		WroteRequest: func(i httptrace.WroteRequestInfo) {
			written.Store(i.Err == nil)
			if i.Err == nil {
				writes.Add(1)
			}
		},
	}))
	resp, err := c.http.Do(req)
	if err != nil {
		err = withoutURL(err)
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() && written.Load() {
			err = errors.Join(analysis.ErrUnanswered, err)
		}
		return analysis.Acceptance{}, unavailable(fmt.Errorf("send an analysis request: %w", err), 0)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		answer, err := c.read(resp) // the request is accepted even if the body cannot be read
		return analysis.Acceptance{ServerID: cmp.Or(parseServerID(answer, job), c.serverIDIn(resp)), Answer: answer, Unread: err}, nil
	}
	answer, readErr := readError(resp)
	return analysis.Acceptance{}, c.responseError(resp, answer, readErr, int(writes.Load()) > 1+redirects(resp))
}

// redirects returns how many redirects led to a response.
func redirects(resp *http.Response) (n int) {
	for previous := resp.Request.Response; previous != nil; previous = previous.Request.Response {
		n++
	}
	return n
}

// read reads the body of a response as analysis.Body.JSON returns it. It fails if the body is larger
// than maxAnswerBytes, or if its end is missing. In the second case it also returns the JSON object in
// the body, if that is complete.
func (c *Client) read(resp *http.Response) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(resp.Body, c.maxAnswerBytes+1))
	if int64(len(text)) > c.maxAnswerBytes {
		return nil, fault.ExceedsLimit("answer", c.maxAnswerBytes, nil)
	}
	body := analysis.Body{
		Bytes: text, Type: resp.Header.Get("Content-Type"), Encoding: resp.Header.Get("Content-Encoding"), Limit: c.maxAnswerBytes,
	}
	if err != nil {
		return body.Object(), fault.BodyTruncated(err)
	}
	return body.JSON()
}

// readError reads the first maxErrorBytes of the body of an error response. It returns the body as
// analysis.Body.JSON does if it can be decoded, and as the server sent it otherwise.
func readError(resp *http.Response) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBytes))
	decoded, decodeErr := analysis.Body{
		Bytes: text, Type: resp.Header.Get("Content-Type"), Encoding: resp.Header.Get("Content-Encoding"), Limit: maxErrorBytes,
	}.JSON()
	if decodeErr != nil {
		return text, err
	}
	return decoded, err
}

// withoutURL removes the URL from an error of net/http, since the URL may contain credentials.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// encode encodes the fields of a request as a form or as JSON.
func (c *Client) encode(r analysis.Request) (body []byte, contentType string, err error) {
	fields := map[string]string{
		"s3_audio_url": r.AudioURL, "video_id": strconv.FormatInt(r.TokenID, 10),
		"webhook_url": r.WebhookURL, "job_id": r.JobID,
	}
	if r.TextGridURL != "" {
		fields["s3_textgrid_url"] = r.TextGridURL
	}
	if r.PitchURL != "" {
		fields["s3_pitch_url"] = r.PitchURL
	}
	if c.format == JSON {
		body, err = json.Marshal(fields)
		return body, "application/json", err
	}
	form := make(url.Values, len(fields))
	for k, v := range fields {
		form.Set(k, v)
	}
	return []byte(form.Encode()), "application/x-www-form-urlencoded", nil
}

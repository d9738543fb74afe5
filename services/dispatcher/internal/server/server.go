// Package server speaks to the analysis server over HTTP.
package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"regexp"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/problem"
	"sori.internal/shared/trace"
)

// Format is how a request is encoded.
type Format string

// The formats.
const (
	Form Format = "form" // application/x-www-form-urlencoded
	JSON Format = "json"
)

// UnmarshalText takes the setting ANALYSIS_REQUEST_FORMAT.
func (f *Format) UnmarshalText(text []byte) error {
	switch given := Format(text); given {
	case Form, JSON:
		*f = given
		return nil
	default:
		return fmt.Errorf("format %q is neither form nor json", text)
	}
}

// Client asks the analysis server.
type Client struct {
	url       string
	format    Format
	userAgent string
	http      *http.Client
	turns     chan struct{} // one for each request at once
	presigned bool          // it is given presigned URLs
	breaker   *breaker
	status    StatusURL
	maxStatus int64 // bytes of the answer to it, and of one that holds the results
}

// Options are what the operator decides.
type Options struct {
	Target      *url.URL
	Format      Format
	UserAgent   string
	Timeout     time.Duration // of one request
	Concurrency int           // requests at once
	Failures    int           // in a row, after which the server is given a rest
	Rest        time.Duration // how long, where it does not say so itself
	Presigned   bool          // whether the server is given presigned URLs
	Status      StatusURL
	MaxStatus   int64 // largest answer to it, in bytes
	Log         zerolog.Logger
}

// New makes a client. It does not dial.
func New(o Options) *Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = o.Concurrency
	return &Client{
		url: o.Target.String(), format: o.Format, userAgent: o.UserAgent, turns: make(chan struct{}, o.Concurrency),
		presigned: o.Presigned,
		breaker:   newBreaker(o.Failures, o.Rest, o.Log), status: o.Status, maxStatus: o.MaxStatus,
		http: &http.Client{Transport: transport, Timeout: o.Timeout, CheckRedirect: samePost},
	}
}

// samePost follows a redirect only where it repeats the request (307, 308): the
// GET that others lead to asks for nothing, and its 200 would accept nothing.
func samePost(next *http.Request, via []*http.Request) error {
	if next.Method != http.MethodPost || len(via) > 5 {
		return http.ErrUseLastResponse
	}
	return nil
}

// maxAnswer bounds what is read of a refusal, in bytes.
const maxAnswer = 64 << 10

// Resting is 1 while the server is given a rest, and else 0.
func (c *Client) Resting() float64 { return c.breaker.open() }

// Submit implements analysis.Analyzer. While the server has a rest it is not asked,
// and the error tells how long that lasts.
func (c *Client) Submit(ctx context.Context, r analysis.Request) (analysis.Acceptance, error) {
	body, contentType, err := c.encode(r)
	if err != nil {
		return analysis.Acceptance{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return analysis.Acceptance{}, fmt.Errorf("ask the analysis server: %w", err)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.userAgent)
	req.Header.Set("Idempotency-Key", r.JobID+"."+strconv.Itoa(r.Attempt))
	req.Header.Set(trace.Header, trace.Parent(ctx))
	select {
	case c.turns <- struct{}{}:
		defer func() { <-c.turns }()
	case <-ctx.Done():
		return analysis.Acceptance{}, away(fmt.Errorf("wait to ask the analysis server: %w", ctx.Err()), 0)
	}
	return try(ctx, c.breaker, func() (analysis.Acceptance, error) { return c.post(req) })
}

func (c *Client) post(req *http.Request) (analysis.Acceptance, error) {
	var written atomic.Bool // the whole request: the server may have taken it
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		WroteRequest: func(i httptrace.WroteRequestInfo) { written.Store(i.Err == nil) },
	}))
	resp, err := c.http.Do(req)
	if err != nil {
		err = withoutURL(err)
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() && written.Load() {
			err = errors.Join(analysis.ErrUnanswered, err)
		}
		return analysis.Acceptance{}, away(fmt.Errorf("ask the analysis server: %w", err), 0)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		// Whatever follows the status, it has accepted. What is too large is no answer.
		answer, err := io.ReadAll(io.LimitReader(resp.Body, c.maxStatus+1))
		if err != nil || int64(len(answer)) > c.maxStatus {
			answer = nil
		}
		return analysis.Acceptance{ServerID: ownID(answer), Body: answer}, nil
	}
	answer, readErr := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return analysis.Acceptance{}, c.refusal(resp, answer, readErr)
}

// withoutURL drops the URL that net/http quotes: it may carry credentials.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

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

// maxID is the longest id of the server's that is kept, in runes.
const maxID = 200

// ownID finds the server's own id of the job in its answer, if it told one: a
// text or a number, which is kept digit by digit.
func ownID(answer []byte) string {
	var a struct {
		JobID json.RawMessage `json:"job_id"`
	}
	if json.Unmarshal(answer, &a) != nil {
		return ""
	}
	var number json.Number
	var text string
	switch {
	case json.Unmarshal(a.JobID, &text) == nil:
	case json.Unmarshal(a.JobID, &number) == nil:
		text = number.String()
	}
	if text != analysis.Sanitize(text, maxID) { // it could not be used as it is
		return ""
	}
	return text
}

// refusal judges an answer that is no acceptance (RFC 9110, section 15): some
// say "later", the others are final.
func (c *Client) refusal(resp *http.Response, answer []byte, readErr error) error {
	cause := errors.Join(fmt.Errorf("ask the analysis server: status %d", resp.StatusCode), readErr)
	switch s := resp.StatusCode; {
	case s == http.StatusRequestTimeout, s == http.StatusTooEarly, s == http.StatusTooManyRequests, s >= 500:
		return away(cause, problem.RetryAfter(resp.Header.Get("Retry-After"), time.Now()))
	default:
		code, retryable := analysis.ParseRejection(answer)
		why := reason(resp.StatusCode, answer)
		if c.presigned && code == event.CodeAnalysisRejected && aboutURL.Match(answer) {
			why += urlHint
		}
		return &analysis.RejectedError{Code: code, Reason: why, Retryable: retryable, Err: cause}
	}
}

// away reports that the server is away or busy, and for how long by its own word;
// 0 where it has none.
func away(cause error, retryAfter time.Duration) error {
	return &fault.Error{
		Kind: fault.Unavailable, Code: "analysis-unavailable", RetryAfter: retryAfter, Err: cause,
		Detail: "The analysis server is busy or away.",
	}
}

// aboutURL matches reasons that may mean that the server cannot use the URLs that it
// was given; urlHint says what an operator may try then. People are not shown either.
var aboutURL = regexp.MustCompile(`(?i)s3://|\bs3\b|\bur[il]s?\b|_url\b|presign|pre-sign|\bbucket|\bscheme|signature|x-amz|access ?denied`)

const urlHint = " (If it cannot use presigned URLs, ANALYSIS_URL_STYLE=s3 has it given s3://bucket/key.)"

// maxReason bounds what of the server's reason is shown, in runes.
const maxReason = 500

// textOf is what a member of the server's answer says: its text, or, where it is more
// than that, as lists of violations are, its JSON.
func textOf(member any) string {
	switch v := member.(type) {
	case nil:
		return ""
	case string:
		return v
	default:
		text, _ := json.Marshal(v) // it was JSON before
		return string(text)
	}
}

// reason takes the server's own words where its answer has some: the usual names
// of an error's text in JSON, else a short plain text.
func reason(status int, answer []byte) string {
	text := ""
	var fields map[string]any
	if json.Unmarshal(answer, &fields) == nil {
		for _, name := range []string{"detail", "error", "message", "title"} {
			if text = textOf(fields[name]); text != "" {
				break
			}
		}
	} else if !bytes.ContainsRune(answer, '<') {
		text = string(answer)
	}
	if text = analysis.Sanitize(text, maxReason); text == "" {
		return fmt.Sprintf("The analysis server refused the request with status %d.", status)
	}
	return fmt.Sprintf("The analysis server refused the request with status %d: %s", status, text)
}

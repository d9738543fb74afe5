package analyzerclient

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/shared/fault"
	"sori.internal/shared/problem"
	"sori.internal/shared/trace"
)

// StatusURL is the template of the URL that returns the state of an analysis. It has placeholders
// for the analysis server's id of the analysis and for the job's id. The empty StatusURL means that
// the analysis server has no status URL.
type StatusURL string

// The placeholders.
const (
	serverIDPlaceholder = "{analysis_job_id}"
	jobIDPlaceholder    = "{job_id}"
)

// UnmarshalText parses the setting ANALYSIS_STATUS_URL. Its errors do not quote the URL, which may
// contain credentials.
func (s *StatusURL) UnmarshalText(text []byte) error {
	*s = StatusURL(text)
	if *s == "" {
		return nil
	}
	u, err := url.Parse(s.expand("1", "1"))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return errors.New("it must be an absolute http or https URL")
	}
	if !strings.Contains(string(*s), serverIDPlaceholder) && !strings.Contains(string(*s), jobIDPlaceholder) {
		return errors.New("it must name " + serverIDPlaceholder + " or " + jobIDPlaceholder)
	}
	return nil
}

// Key returns a hash of the template, as a key that does not reveal the URL.
func (s StatusURL) Key() string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// expand returns the URL for one job.
func (s StatusURL) expand(job, serverID string) string {
	escaped := strings.ReplaceAll(url.QueryEscape(serverID), "+", "%20") // %20 is valid in a path and in a query, + only in a query
	return strings.NewReplacer(serverIDPlaceholder, escaped, jobIDPlaceholder, job).Replace(string(s))
}

// serverIDIn returns the id of the analysis in the URL of its status, which a server may send in a header
// of its acceptance instead of the id. It returns "" if the path of the URL has another form than that
// of the template.
func (s StatusURL) serverIDIn(statusURL *url.URL) string {
	template, err := url.Parse(string(s))
	if err != nil {
		return ""
	}
	before, after, _ := strings.Cut(template.EscapedPath(), url.PathEscape(serverIDPlaceholder))
	id, isBefore := strings.CutPrefix(statusURL.EscapedPath(), before)
	id, isAfter := strings.CutSuffix(id, after)
	id, err = url.PathUnescape(id)
	if err != nil || !isBefore || !isAfter || strings.Contains(id, "/") || id != analysis.Sanitize(id, maxServerID) {
		return ""
	}
	return id
}

// needsServerID reports whether the URL has a placeholder for the analysis server's id of the
// analysis.
func (s StatusURL) needsServerID() bool { return strings.Contains(string(s), serverIDPlaceholder) }

// statusTimeout is the timeout of a request to the status URL.
const statusTimeout = 10 * time.Second

// busyDelay is the time until the next request to a status URL that answers 429 without Retry-After.
const busyDelay = 30 * time.Second

// Status implements analysis.Analyzer.
func (c *Client) Status(ctx context.Context, job, serverID string) ([]byte, error) {
	if serverID == "" && c.status.needsServerID() {
		return nil, analysis.ErrNoServerID
	}
	resp, err := c.askStatusURL(ctx, http.MethodGet, job, serverID)
	if resp == nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone {
		return nil, analysis.ErrUnknownAnalysis
	}
	if resp.StatusCode < 200 || resp.StatusCode >= 300 {
		return nil, statusError(resp)
	}
	answer, err := c.read(resp)
	if err != nil {
		return nil, fmt.Errorf("read the answer of the status url: %w", err)
	}
	if len(answer) == 0 && (resp.StatusCode == http.StatusAccepted || resp.StatusCode == http.StatusNoContent) {
		return nil, analysis.ErrUnfinished
	}
	return answer, nil
}

// statusError returns the error for an answer of the status URL whose status is neither 2xx nor 404 or
// 410. After 500 the server is not asked again for now: many servers answer so about an analysis that
// they do not know.
func statusError(resp *http.Response) error {
	cause := fmt.Errorf("poll the status url: status %d", resp.StatusCode)
	retryAfter := problem.RetryAfter(resp.Header.Get("Retry-After"), time.Now())
	switch resp.StatusCode {
	case http.StatusTooManyRequests:
		return unavailable(cause, cmp.Or(retryAfter, busyDelay))
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return unavailable(cause, retryAfter)
	default:
		return cause
	}
}

// Cancel implements analysis.Analyzer: it sends DELETE to the status URL.
func (c *Client) Cancel(ctx context.Context, job, serverID string) error {
	resp, err := c.askStatusURL(ctx, http.MethodDelete, job, serverID)
	if resp == nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxErrorBytes) // the body is read so that the connection can be reused
	switch s := resp.StatusCode; {
	case s >= 200 && s < 300, s == http.StatusNotFound, s == http.StatusGone,
		s == http.StatusMethodNotAllowed, s == http.StatusNotImplemented:
		return nil
	case s == http.StatusRequestTimeout, s == http.StatusTooEarly, s == http.StatusTooManyRequests, s >= 500:
		return fault.Unreachable("analysis server", fmt.Errorf("cancel an analysis: status %d", s))
	default:
		return fmt.Errorf("cancel an analysis: status %d", s)
	}
}

// askStatusURL sends a request to the status URL of an analysis. statusTimeout covers the response
// and its body. The response is nil if there is no status URL for the analysis.
func (c *Client) askStatusURL(ctx context.Context, method, job, serverID string) (*http.Response, error) {
	if c.status == "" || serverID == "" && c.status.needsServerID() {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	req, err := http.NewRequestWithContext(ctx, method, c.status.expand(job, serverID), nil)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("ask the status url: %w", withoutURL(err))
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.userAgent)
	req.Header.Set(trace.Header, trace.Parent(ctx))
	resp, err := c.http.Do(req)
	if err != nil {
		cancel()
		return nil, fault.Unreachable("analysis server", fmt.Errorf("ask the status url: %w", withoutURL(err)))
	}
	resp.Body = cancelingBody{resp.Body, cancel}
	return resp, nil
}

// cancelingBody is a response body whose Close also cancels the context of the request.
type cancelingBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close implements io.Closer.
func (b cancelingBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

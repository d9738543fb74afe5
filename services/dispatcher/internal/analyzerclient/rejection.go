package analyzerclient

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/problem"
)

// maxErrorBytes limits how many bytes of an error's body are read.
const maxErrorBytes = 64 << 10

// responseError translates a response that is not an acceptance (RFC 9110, section 15): the server
// is unavailable for now, or it rejects the request for good.
func (c *Client) responseError(resp *http.Response, answer []byte, readErr error) error {
	cause := errors.Join(fmt.Errorf("send an analysis request: status %d", resp.StatusCode), readErr)
	switch s := resp.StatusCode; {
	case s == http.StatusRequestTimeout, s == http.StatusTooEarly, s == http.StatusTooManyRequests, s >= 500:
		return unavailable(cause, problem.RetryAfter(resp.Header.Get("Retry-After"), time.Now()))
	default:
		code, retryable := analysis.ParseRejection(answer)
		reason := rejectionReason(resp.StatusCode, answer)
		if s >= 300 && s < 400 {
			reason += redirectHint
		} else if c.presigned && code == event.CodeAnalysisRejected && mentionsURL.Match(answer) {
			reason += urlStyleHint
		}
		return &analysis.RejectedError{Code: code, Reason: reason, Retryable: retryable, Err: cause}
	}
}

// unavailable returns the error of a server that is unavailable or busy. retryAfter is the time in
// its Retry-After; 0 if it sent none.
func unavailable(cause error, retryAfter time.Duration) error {
	return &fault.Error{
		Kind: fault.Unavailable, Code: "analysis-unavailable", RetryAfter: retryAfter, Err: cause,
		Detail: "The analysis server is busy or away.",
	}
}

// mentionsURL matches texts that may mean that the server cannot use presigned URLs. urlStyleHint
// is the advice for the operator in this case. Clients do not see the advice.
var mentionsURL = regexp.MustCompile(`(?i)s3://|\bs3\b|\bur[il]s?\b|_url\b|presign|pre-sign|\bbucket|\bscheme|signature|x-amz|access ?denied`)

const urlStyleHint = " (If it cannot use presigned URLs, ANALYSIS_URL_STYLE=s3 has it given s3://bucket/key.)"

// redirectHint is the advice for the operator if the server redirects a request in a way that does
// not allow the client to repeat it. For example, a proxy may redirect http to https with status
// 301.
const redirectHint = " (It redirects: TARGET_SERVER_URL must be the URL to which it redirects.)"

// maxReason is the length of the longest reason of the server that is stored, in runes.
const maxReason = 500

// textOf returns a member of the server's answer as text: a string unchanged, any other value, such
// as a list of violations, as JSON.
func textOf(member any) string {
	switch v := member.(type) {
	case nil:
		return ""
	case string:
		return v
	default:
		text, _ := json.Marshal(v) // never fails: v was decoded from JSON
		return string(text)
	}
}

// rejectionReason returns the reason in the server's answer, if there is one: a JSON member with a
// usual name, or a plain text.
func rejectionReason(status int, answer []byte) string {
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

package analyzerclient

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/problem"
)

// maxErrorBytes is how many bytes of the body of an error response are read.
const maxErrorBytes = 64 << 10

// responseError returns the error for a response whose status is not 2xx. The error means either
// that the server is unavailable for now, or that it rejects the request for good. repeated reports
// whether net/http has sent the request twice: it does so if a reused connection breaks before the
// response, since the request has an Idempotency-Key.
func (c *Client) responseError(resp *http.Response, answer []byte, readErr error, repeated bool) error {
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
		return &analysis.RejectedError{
			Code: code, Reason: reason, Retryable: retryable, Err: cause,
			Conflict: s == http.StatusConflict && code == event.CodeAnalysisRejected && !retryable, Repeated: repeated,
		}
	}
}

// unavailable returns the error for a server that is unavailable or busy. retryAfter is the time
// from its Retry-After header; 0 if there is none.
func unavailable(cause error, retryAfter time.Duration) error {
	return &fault.Error{
		Kind: fault.Unavailable, Code: analysis.CodeUnavailable, RetryAfter: retryAfter, Err: cause,
		Detail: "The analysis server is busy or away.",
	}
}

// mentionsURL matches the reasons with which servers reject presigned URLs. If the reason matches,
// urlStyleHint is added to it, as advice for the operator. Clients do not see the advice.
var mentionsURL = regexp.MustCompile(`(?i)s3://|\bs3\b|\bur[il]s?\b|_url\b|presign|pre-sign|\bbucket|\bscheme|signature|x-amz|access ?denied`)

const urlStyleHint = " (If it cannot use presigned URLs, ANALYSIS_URL_STYLE=s3 has it given s3://bucket/key.)"

// redirectHint is the advice for the operator if the server answers with a redirect that the client
// must not follow (followSameMethod). For example, a proxy may redirect http to https with status
// 301.
const redirectHint = " (It redirects: TARGET_SERVER_URL must be the URL to which it redirects.)"

// maxReason is the largest length of the stored reason of a rejection, in runes.
const maxReason = 500

// rejectionReason returns a sentence with the status of a rejection and the reason, if the server's
// answer contains one. The reason is in a JSON object (reasonIn), or a text that is not JSON.
func rejectionReason(status int, answer []byte) string {
	text := ""
	var members map[string]json.RawMessage
	if json.Unmarshal(answer, &members) == nil {
		text = reasonIn(status, members)
	} else if !bytes.ContainsRune(answer, '<') {
		text = string(answer)
	}
	if text = analysis.Sanitize(text, maxReason); text == "" {
		return fmt.Sprintf("The analysis server refused the request with status %d.", status)
	}
	return fmt.Sprintf("The analysis server refused the request with status %d: %s", status, text)
}

// reasonIn returns the reason in an answer: the text of a member with a usual name, unless it only
// names the status, as Spring and NestJS do in error. Without such a member it returns all members that
// may be the reason, as JSON: Django names the invalid fields themselves.
func reasonIn(status int, members map[string]json.RawMessage) string {
	for _, name := range []string{"detail", "error", "message", "errors", "title"} {
		if text := analysis.Reason(members[name]); text != "" && !strings.EqualFold(text, http.StatusText(status)) {
			return text
		}
	}
	for _, name := range []string{"code", "error", "instance", "path", "retryable", "status", "statusCode", "timestamp", "title", "traceId", "type"} {
		delete(members, name)
	}
	if len(members) == 0 {
		return ""
	}
	text, _ := json.Marshal(members) // never fails: the values were decoded from JSON
	return string(text)
}

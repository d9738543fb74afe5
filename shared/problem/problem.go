// Package problem makes RFC 9457 problem documents from failures. Every route of every service
// reports its errors in this form.
package problem

import (
	"cmp"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"

	"sori.internal/shared/fault"
	"sori.internal/shared/locale"
)

// ContentType is the media type of a problem document (RFC 9457, section 3).
const ContentType = "application/problem+json"

// typePrefix and the code form the type of a problem: a stable identifier without a host.
const typePrefix = "urn:sori:problem:"

// Document is a problem document. Extension members other than Code and RequestID are in Extra.
type Document struct {
	Type      string
	Title     string
	Status    int
	Detail    string
	Instance  string
	Code      string
	RequestID string
	Errors    []fault.Violation
	Extra     map[string]any

	// RetryAfter is the value of the header Retry-After, in seconds; if it is 0, the header is not
	// sent.
	RetryAfter int
}

// statusChecksumMismatch is the status with which tus 1.0 answers a wrong checksum.
const statusChecksumMismatch = 460

// Status returns the HTTP status of a kind. fault.Exhausted and fault.Unavailable both have the
// status 503, since a client should do the same in both cases: try again later.
func Status(kind fault.Kind) int {
	statuses := map[fault.Kind]int{
		fault.Internal:           http.StatusInternalServerError,
		fault.Invalid:            http.StatusUnprocessableEntity,
		fault.Malformed:          http.StatusBadRequest,
		fault.Unauthenticated:    http.StatusUnauthorized,
		fault.Forbidden:          http.StatusForbidden,
		fault.NotFound:           http.StatusNotFound,
		fault.MethodNotAllowed:   http.StatusMethodNotAllowed,
		fault.RequestTimeout:     http.StatusRequestTimeout,
		fault.Conflict:           http.StatusConflict,
		fault.Gone:               http.StatusGone,
		fault.PreconditionFailed: http.StatusPreconditionFailed,
		fault.TooLarge:           http.StatusRequestEntityTooLarge,
		fault.Unsupported:        http.StatusUnsupportedMediaType,
		fault.HeaderTooLarge:     http.StatusRequestHeaderFieldsTooLarge,
		fault.RateLimited:        http.StatusTooManyRequests,
		fault.Misdirected:        http.StatusMisdirectedRequest,
		fault.ChecksumMismatch:   statusChecksumMismatch,
		fault.Exhausted:          http.StatusServiceUnavailable,
		fault.Unavailable:        http.StatusServiceUnavailable,
	}
	return cmp.Or(statuses[kind], http.StatusInternalServerError)
}

// Request describes the request that failed.
type Request struct {
	Path           string
	ID             string
	AcceptLanguage string // value of the request header; unless it prefers Korean, the document is in English
}

// From describes err for the client that made a request. It never includes the cause.
func From(err error, r Request) Document {
	f := fault.As(err)
	language := locale.Choose(r.AcceptLanguage, locale.English)
	status := Status(f.Kind)
	d := Document{
		Type: typePrefix + f.Code, Title: cmp.Or(http.StatusText(status), "Checksum Mismatch"), Status: status,
		Detail:   locale.Problem(language, f.Code, f.Detail, f.Extra),
		Instance: r.Path, Code: f.Code, RequestID: r.ID,
		Errors: f.Violations, Extra: f.Extra,
	}
	if status == http.StatusServiceUnavailable || f.RetryAfter > 0 {
		d.RetryAfter = max(1, int(math.Ceil(f.RetryAfter.Seconds())))
	}
	return d
}

// MarshalJSON writes the document with its extension members beside the standard ones. A standard
// member replaces an extension of the same name.
func (d Document) MarshalJSON() ([]byte, error) {
	m := make(map[string]any, len(d.Extra)+8)
	for k, v := range d.Extra {
		m[k] = v
	}
	m["type"], m["title"], m["status"] = d.Type, d.Title, d.Status
	m["detail"], m["instance"] = d.Detail, d.Instance
	m["code"], m["request_id"] = d.Code, d.RequestID
	if len(d.Errors) > 0 {
		m["errors"] = d.Errors
	}
	return json.Marshal(m)
}

// Write sends the document as the whole response.
func (d Document) Write(w http.ResponseWriter) {
	body, err := json.Marshal(d)
	if err != nil { // this happens only if an extension cannot be marshalled
		d.Extra = nil
		body, _ = json.Marshal(d)
	}
	w.Header().Set("Content-Type", ContentType)
	w.Header().Set("Cache-Control", "no-store")
	if d.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(d.RetryAfter))
	}
	w.WriteHeader(d.Status)
	_, _ = w.Write(body) // an error means that the client has left
}

// RetryAfter parses the value of a Retry-After header (RFC 9110, section 10.2.3): whole seconds, or
// an HTTP date relative to now. It returns 0 if the value is absent, malformed or in the past, and
// at most a day.
func RetryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(value); err == nil && seconds > 0 {
		return time.Duration(min(seconds, 24*60*60)) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil && at.After(now) {
		return min(at.Sub(now), 24*time.Hour)
	}
	return 0
}

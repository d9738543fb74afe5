package problem_test

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sori.internal/shared/fault"
	"sori.internal/shared/problem"
)

func TestEveryKindHasAnErrorStatus(t *testing.T) {
	t.Parallel()
	want := map[fault.Kind]int{
		fault.Internal: 500, fault.Invalid: 422, fault.Unauthenticated: 401, fault.Forbidden: 403,
		fault.NotFound: 404, fault.Gone: 410, fault.Conflict: 409, fault.TooLarge: 413, fault.Unsupported: 415,
		fault.Exhausted: 503, fault.Unavailable: 503, fault.Malformed: 400, fault.MethodNotAllowed: 405,
		fault.PreconditionFailed: 412, fault.RequestTimeout: 408, fault.HeaderTooLarge: 431, fault.Misdirected: 421, fault.RateLimited: 429,
		fault.ChecksumMismatch: 460,
	}
	for _, k := range fault.Kinds() {
		if got := problem.Status(k); got != want[k] {
			t.Errorf("%s: %d, want %d", k, got, want[k])
		}
	}
}

func TestADocumentHasTheMembersOfTheContract(t *testing.T) {
	t.Parallel()
	err := &fault.Error{
		Kind: fault.TooLarge, Code: "too-large", Detail: "At most 10 bytes.",
		Extra: map[string]any{"max_bytes": 10, "status": "spoofed"},
	}
	rec := httptest.NewRecorder()
	problem.From(err, problem.Request{Path: "/tokens/1/upload-audio", ID: "r-1"}).Write(rec)
	if rec.Code != http.StatusRequestEntityTooLarge || rec.Header().Get("Content-Type") != problem.ContentType {
		t.Fatalf("%d %q", rec.Code, rec.Header().Get("Content-Type"))
	}
	var got map[string]any
	if e := json.Unmarshal(rec.Body.Bytes(), &got); e != nil {
		t.Fatal(e)
	}
	want := map[string]any{
		"type": "urn:sori:problem:too-large", "title": "Request Entity Too Large", "status": 413.0,
		"detail": "At most 10 bytes.", "instance": "/tokens/1/upload-audio", "code": "too-large",
		"request_id": "r-1", "max_bytes": 10.0,
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s = %v, want %v", k, got[k], v)
		}
	}
	if len(got) != len(want) {
		t.Errorf("members %v", got)
	}
}

// The client must get the status and the code even then.
func TestAnExtensionThatJSONCannotExpressIsLeftOut(t *testing.T) {
	t.Parallel()
	err := &fault.Error{
		Kind: fault.RateLimited, Code: "rate-limited", Detail: "Too fast.", RetryAfter: time.Second,
		Extra: map[string]any{"rate": math.Inf(1)},
	}
	rec := httptest.NewRecorder()
	problem.From(err, problem.Request{Path: "/jobs/", ID: "r-1"}).Write(rec)
	var got map[string]any
	if e := json.Unmarshal(rec.Body.Bytes(), &got); e != nil {
		t.Fatalf("%v: %s", e, rec.Body)
	}
	if rec.Code != http.StatusTooManyRequests || rec.Header().Get("Retry-After") != "1" || got["code"] != "rate-limited" || got["detail"] != "Too fast." {
		t.Errorf("%d %v: %v", rec.Code, rec.Header(), got)
	}
	if _, there := got["rate"]; there {
		t.Errorf("the extension is there: %v", got)
	}
}

func TestUnreadableInputIs400AndBrokenRulesAre422(t *testing.T) {
	t.Parallel()
	if s := problem.From(fault.MalformedJSON("x", nil), problem.Request{Path: "/"}).Status; s != 400 {
		t.Errorf("malformed: %d", s)
	}
	if s := problem.From(fault.ValidationFailed(), problem.Request{Path: "/"}).Status; s != 422 {
		t.Errorf("rule: %d", s)
	}
}

func TestABareErrorShowsNothingOfItsCause(t *testing.T) {
	t.Parallel()
	body, _ := json.Marshal(problem.From(errors.New("dial tcp 10.0.0.7: secret"), problem.Request{Path: "/", ID: "r"}))
	for _, leak := range []string{"10.0.0.7", "secret"} {
		if strings.Contains(string(body), leak) {
			t.Errorf("%q in %s", leak, body)
		}
	}
}

func TestUnavailableSaysWhenToRetry(t *testing.T) {
	t.Parallel()
	rec := httptest.NewRecorder()
	problem.From(&fault.Error{Kind: fault.Exhausted, Code: "busy", RetryAfter: 1500 * time.Millisecond}, problem.Request{Path: "/"}).Write(rec)
	if got := rec.Header().Get("Retry-After"); got != "2" {
		t.Fatalf("Retry-After %q", got)
	}
}

func TestAConflictThatPassesSaysWhenToRetry(t *testing.T) {
	t.Parallel()
	conflict := &fault.Error{Kind: fault.Conflict, Code: "in-use"}
	if d := problem.From(conflict, problem.Request{Path: "/"}); d.RetryAfter != 0 {
		t.Errorf("one that lasts: %d", d.RetryAfter)
	}
	conflict.RetryAfter = time.Second
	if d := problem.From(conflict, problem.Request{Path: "/"}); d.RetryAfter != 1 {
		t.Errorf("one that passes: %d", d.RetryAfter)
	}
}

func TestRetryAfterReadsSecondsAndDates(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"7": 7 * time.Second, "0": 0, "-3": 0, "": 0, "soon": 0,
		"Fri, 02 Jan 2026 03:04:35 GMT": 30 * time.Second,
		"Fri, 02 Jan 2026 03:04:00 GMT": 0,
		"99999999":                      24 * time.Hour,
	} {
		if got := problem.RetryAfter(value, now); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

func TestTheDetailIsKoreanWhereTheClientPrefersIt(t *testing.T) {
	t.Parallel()
	err := &fault.Error{
		Kind: fault.TooLarge, Code: "too-large", Detail: "The file is larger than 5 bytes.", Extra: map[string]any{"max_bytes": 5},
	}
	for header, want := range map[string]string{
		"":                        "The file is larger than 5 bytes.",
		"fr":                      "The file is larger than 5 bytes.",
		"en-US,ko;q=0.5":          "The file is larger than 5 bytes.",
		"ko-KR,ko;q=0.9,en;q=0.8": "내용이 허용된 최대 크기(5바이트)보다 큽니다.",
	} {
		if d := problem.From(err, problem.Request{AcceptLanguage: header}); d.Detail != want {
			t.Errorf("%q: %s", header, d.Detail)
		}
	}
}

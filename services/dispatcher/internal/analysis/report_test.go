package analysis

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"sori.internal/shared/fault"
)

func FuzzParseReport(f *testing.F) {
	for _, body := range []string{
		``, `{}`, `[]`, `{"analysis_results":{"a":[1,{"b":null}]}}`, `{"status":"completed","analysis_results":7}`, `{"status":null}`,
		`{"status":"failed","error":"http://h/?sig=1"}`, `{"status":"failed","error":{"a":"\u0000"}}`, `{"status":"processing","progress":99.5,"message":"m"}`,
		`{"status":"processing","progress":1e400}`, `{"STATUS":"failed"}`, "\xff{}", `{"a":` + strings.Repeat(`[`, 100),
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := parseReport(body)
		if err != nil {
			if kind := fault.KindOf(err); kind != fault.Invalid && kind != fault.Malformed || fault.As(err).Detail == "" {
				t.Fatalf("%v", err)
			}
			return
		}
		switch r.status {
		case statusCompleted:
			if !json.Valid(r.result) || string(r.result) == "null" || !json.Valid(body) && len(r.warnings) == 0 && !bytes.HasPrefix(body, []byte("\xef\xbb\xbf")) {
				t.Fatalf("result %q", r.result)
			}
		case statusFailed:
			if r.reason == "" || !sanitized(r.reason, maxReason) {
				t.Fatalf("reason %q", r.reason)
			}
		case statusProcessing:
			if r.percent < 0 || r.percent > 100 || !sanitized(r.message, maxMessage) {
				t.Fatalf("progress %d %q", r.percent, r.message)
			}
		default:
			t.Fatalf("status %q", r.status)
		}
	})
}

func TestAnAnswerThatWrapsAnAcknowledgementIsNoOutcome(t *testing.T) {
	t.Parallel()
	for answer, status := range map[string]string{
		`{"result":{"taskId":"a-17"},"success":true,"error":null,"unAuthorizedRequest":false}`: "",
		`{"jsonrpc":"2.0","result":{"job_id":17,"status":"queued"},"id":1}`:                    "",
		`{"status":"success","result":{"id":"a-17","message":"queued"}}`:                       "",
		`{"result":{"job_id":"a-17","analysis_id":"b"}}`:                                       "",
		`{"result":"{\"task-id\":\"a-17\"}"}`:                                                  "",
		`{"result":{"id":"a-17","status":"completed"}}`:                                        statusCompleted,
		`{"result":{"id":"a-17","score":0.5}}`:                                                 statusCompleted,
		`{"result":{"status":"queued","progress":0}}`:                                          "",
		`{"result":{"status":"ok"}}`:                                                           statusCompleted,
		`{"result":{}}`:                                                                        statusCompleted,
		`{"result":[{"id":1}]}`:                                                                statusCompleted,
		`{"id":"a-17","status":"succeeded","output":{"a":1}}`:                                  statusCompleted,
		`{"id":"a-17","status":"starting","output":null}`:                                      "",
		`{"id":"a-17","output":{"a":1}}`:                                                       "",
		`{"id":"a-17","status":"succeeded","output":"https://h/x"}`:                            "",
		`{"name":"operations/1","done":true,"response":{"a":1}}`:                               statusCompleted,
		`{"name":"operations/1","done":true,"error":{"code":3}}`:                               statusFailed,
		`{"name":"operations/1","metadata":{}}`:                                                "",
		`{"status":"ok","response":{"queue":3}}`:                                               "",
		`{"status":500,"error":"Internal Server Error"}`:                                       statusFailed,
		`{"status":"unavailable","error":"no model"}`:                                          statusFailed,
		`{"status":"unavailable"}`:                                                             "",
		`{"status":202,"error":null}`:                                                          "",
		`{"result":"queued","error":"slow disk"}`:                                              "",
		`{"data":null,"errors":[{"message":"no model"}]}`:                                      statusFailed,
		`{"data":null,"errors":[]}`:                                                            "",
		`{"succeeded":true,"errors":[],"result":{"a":1}}`:                                      statusCompleted,
		`{"result":{"id":"` + strings.Repeat("x", 1100) + `"}}`:                                statusCompleted,
	} {
		r, err := Acceptance{Answer: []byte(answer)}.outcome()
		if err != nil || (r == nil) != (status == "") || r != nil && r.status != status {
			t.Errorf("%.80s: %+v, %v", answer, r, err)
		}
	}
}

// Such an answer is no acceptance for certain: the stream of its job must show that it was not
// understood.
func TestAnAnswerThatIsAnArrayOrAPageIsRefused(t *testing.T) {
	t.Parallel()
	for answer, refused := range map[string]bool{
		`[{"label":"a","score":0.9},{"label":"b","score":0.1}]`: true,
		`[]`: true,
		`<!DOCTYPE html><html><body>Under maintenance</body></html>`: true,
		`OK`:                                 false,
		`"queued"`:                           false,
		`17`:                                 false,
		``:                                   false,
		`{"message":"Workflow was started"}`: false,
	} {
		r, err := Acceptance{Answer: []byte(answer)}.outcome()
		if r != nil || (err != nil) != refused || refused && fault.As(err).Code != "malformed-json" {
			t.Errorf("%s: %+v, %v", answer, r, err)
		}
	}
}

func TestAnAnswerWithoutAnEndIsAnOutcomeIfItsObjectIsComplete(t *testing.T) {
	t.Parallel()
	cut := fault.BodyTruncated(nil)
	for answer, status := range map[string]string{
		`{"result":{"a":1}}`:                    statusCompleted,
		`{"status":"failed"}`:                   statusFailed,
		`{"status":"processing","progress":50}`: "",
		`{"job_id":"a-17"}`:                     "",
		``:                                      "",
	} {
		r, err := Acceptance{Answer: []byte(answer), Unread: cut}.outcome()
		if (r == nil) != (status == "") || r != nil && r.status != status || (err == nil) != (r != nil) {
			t.Errorf("%s: %+v, %v", answer, r, err)
		}
	}
}

func TestAWrappedFailureCompletesNoJob(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"result":{"status":"failed","error":"no speech"},"success":true,"error":null}`: statusFailed,
		`{"code":0,"data":{"status":"failed","error":"no speech"}}`:                      statusFailed,
		`{"status":"success","data":{"state":"FAILURE","error":"no speech"}}`:            statusFailed,
		`{"code":0,"data":{"status":"completed","result":{"a":1}}}`:                      statusCompleted,
		`{"status":"completed","result":{"status":"failed"}}`:                            statusCompleted,
		`{"analysis_results":{"status":"ok","results":[1],"duration":2}}`:                statusCompleted,
		`{"analysis_results":{"state":"running","duration":2}}`:                          statusCompleted,
	} {
		r, err := parseReport([]byte(body))
		if err != nil || r.status != want || want == statusFailed && r.reason != "no speech" {
			t.Errorf("a callback %s: %+v, %v", body, r, err)
		}
		o, err := Acceptance{Answer: []byte(body)}.outcome()
		if err != nil || o == nil || o.status != want || string(o.result) != string(r.result) {
			t.Errorf("an answer %s: %+v, %v", body, o, err)
		}
	}
	if r, err := parseReport([]byte(`{"data":{"status":"running","progress":40}}`)); err != nil || r.status != statusProcessing || r.percent != 40 {
		t.Errorf("wrapped progress: %+v, %v", r, err)
	}
}

func TestAStatusIsFoundInAWrappedAnswer(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]string{
		`{"code":0,"data":{"status":"running","progress":40}}`:                statusProcessing,
		`{"result":{"taskId":"a-17","status":"running"},"success":true}`:      statusProcessing,
		`{"status":"success","data":{"status":"processing"}}`:                 statusProcessing,
		`{"code":0,"data":{"status":"completed","analysis_results":{"a":1}}}`: statusCompleted,
		`{"code":0,"data":{"status":"failed","error":"no speech"}}`:           statusFailed,
		`{"id":"x","status":"succeeded","output":{"a":1},"error":null}`:       statusCompleted,
		`{"id":"x","status":"IN_PROGRESS","output":{"a":2}}`:                  statusProcessing,
		`{"name":"operations/1","done":true,"response":{"a":1}}`:              statusCompleted,
		`{"name":"operations/1","done":true,"error":{"message":"no speech"}}`: statusFailed,
		`{"name":"operations/1","done":false}`:                                statusProcessing,
		`{"name":"operations/1","done":true}`:                                 "",
		`{"status":"running","data":{"status":"completed","result":{"a":1}}}`: statusProcessing,
		`{"status":"completed","result":{"a":1},"data":{"status":"failed"}}`:  statusCompleted,
		`{"status":"ok","result":{"status":"running","progress":40}}`:         "",
		`{"code":0,"data":{"status":"completed"}}`:                            "",
		`{"status":"success","data":{"status":"ok","score":1}}`:               "",
		`{"status":"completed"}`:                                              "",
		`{"data":[1]}`:                                                        "",
	} {
		r, ok := parseStatus([]byte(answer))
		if ok != (want != "") || ok && r.status != want {
			t.Errorf("%s: %+v, %v", answer, r, ok)
		}
		if ok && want == statusCompleted && string(r.result) != `{"a":1}` {
			t.Errorf("%s: result %s", answer, r.result)
		}
	}
}

// sanitized reports whether s is valid output of Sanitize with at most the given number of runes.
func sanitized(s string, runes int) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= runes && !strings.ContainsAny(s, "\x00\x1b\x7f\r") && !urlQuery.MatchString(s)
}

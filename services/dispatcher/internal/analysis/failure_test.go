package analysis

import (
	"strings"
	"testing"
)

func TestAFailureHasItsCodeAndWhetherItIsRetryable(t *testing.T) {
	t.Parallel()
	type said struct {
		code      string
		retryable bool
	}
	for body, want := range map[string]said{
		`{"status":"failed"}`:                                                                        {"analysis-failed", true},
		`{"status":"failed","retryable":false}`:                                                      {"analysis-failed", false},
		`{"status":"failed","code":"no-speech"}`:                                                     {"no-speech", true},
		`{"status":"failed","code":"no-speech","retryable":false}`:                                   {"no-speech", false},
		`{"status":"failed","code":"unsupported-codec"}`:                                             {"unsupported-codec", false},
		`{"status":"failed","code":"unsupported-codec","retryable":null}`:                            {"unsupported-codec", false},
		`{"status":"failed","code":"unsupported-codec","retryable":true}`:                            {"unsupported-codec", true},
		`{"status":"failed","code":"audio-unreachable","retryable":false}`:                           {"audio-unreachable", false},
		`{"status":"failed","retryable":"False"}`:                                                    {"analysis-failed", false},
		`{"status":"failed","retryable":0}`:                                                          {"analysis-failed", false},
		`{"status":"failed","code":"no-speech","retryable":"maybe"}`:                                 {"no-speech", true},
		`{"status":"failed","code":"no-speech","retryable":{}}`:                                      {"no-speech", true},
		`{"status":"failed","code":"No Speech","retryable":false}`:                                   {"analysis-failed", false},
		`{"status":"failed","code":"<script>"}`:                                                      {"analysis-failed", true},
		`{"status":"failed","code":"` + strings.Repeat("x", 65) + `"}`:                               {"analysis-failed", true},
		`{"status":"failed","code":500}`:                                                             {"analysis-failed", true},
		`{"status":"failed","code":null}`:                                                            {"analysis-failed", true},
		`{"status":"failed","code":["no-speech"]}`:                                                   {"analysis-failed", true},
		`{"status":"failed","code":"log-lost"}`:                                                      {"analysis-failed", true},
		`{"status":"failed","error":{"code":"no-speech","message":"x","retryable":false}}`:           {"no-speech", false},
		`{"status":"failed","error":{"code":"unsupported-codec","detail":"x"}}`:                      {"unsupported-codec", false},
		`{"status":"failed","detail":{"code":"no-speech"},"retryable":false}`:                        {"no-speech", false},
		`{"status":"failed","code":"no-speech","error":{"code":"other","retryable":false}}`:          {"no-speech", false},
		`{"status":"failed","error":{"code":500}}`:                                                   {"analysis-failed", true},
		`{"status":"failed","error":[{"code":"no-speech"}]}`:                                         {"analysis-failed", true},
		`{"status":"failed","code":"unprojectable","retryable":false,"error":"speaks for somebody"}`: {"analysis-failed", false},
	} {
		r, err := parseReport([]byte(body))
		if err != nil || r.code != want.code || r.retryable != want.retryable {
			t.Errorf("%.90s: %s %v, %v", body, r.code, r.retryable, err)
		}
		polled, ok := parseStatus([]byte(body))
		if !ok || polled.code != want.code || polled.retryable != want.retryable {
			t.Errorf("%.90s as a status: %s %v, %v", body, polled.code, polled.retryable, ok)
		}
	}
}

func TestTheReasonOfAFailureIsFoundUnderEveryUsualName(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"status":"error","message":"no speech"}`:                       "no speech",
		`{"status":"failed","detail":"no speech"}`:                       "no speech",
		`{"status":"failed","reason":"no speech"}`:                       "no speech",
		`{"status":"failed","error":true,"message":"no speech"}`:         "no speech",
		`{"status":"failed","error":"","message":"no speech"}`:           "no speech",
		`{"status":"failed","error":null,"detail":[{"msg":"x"}]}`:        `[{"msg":"x"}]`,
		`{"status":"failed","error":"no speech","message":"it failed"}`:  "no speech",
		`{"status":"failed","error":null,"errors":[{"message":"x"}]}`:    `[{"message":"x"}]`,
		`{"errors":["no speech"],"analysis_results":{}}`:                 `["no speech"]`,
		`{"status":"failed","error":7}`:                                  "7",
		`{"state":"FAILURE","result":"ValueError('no speech')"}`:         "ValueError('no speech')",
		`{"status":"failed","error":"no speech","result":"x"}`:           "no speech",
		`{"status":"failed","result":{"a":1}}`:                           "The analysis failed without a reason.",
		`{"status":"failed","error":{"code":"c","message":"no speech"}}`: "no speech",
		`{"status":"failed","error":{"code":3,"detail":"no speech"}}`:    "no speech",
		`{"status":"failed","detail":{"error":"no speech"}}`:             "no speech",
		`{"status":"failed","error":{"code":3,"message":""}}`:            `{"code":3,"message":""}`,
		`{"status":"failed","error":{"message":{"text":"no speech"}}}`:   `{"message":{"text":"no speech"}}`,
		`{"status":"failed","error":false,"message":null}`:               "The analysis failed without a reason.",
	} {
		r, err := parseReport([]byte(body))
		if err != nil || r.status != statusFailed || r.reason != want {
			t.Errorf("%s: %q, %v", body, r.reason, err)
		}
	}
}

func TestARejectionIsFinalUnlessItsBodySaysRetryable(t *testing.T) {
	t.Parallel()
	type said struct {
		code      string
		retryable bool
	}
	for body, want := range map[string]said{
		``:                              {"analysis-rejected", false},
		`no such model`:                 {"analysis-rejected", false},
		`<html>403</html>`:              {"analysis-rejected", false},
		`[1]`:                           {"analysis-rejected", false},
		`{"detail":[{"loc":["body"]}]}`: {"analysis-rejected", false},
		`{"retryable":true}`:            {"analysis-rejected", true},
		`{"code":"model-not-loaded"}`:   {"model-not-loaded", false},
		`{"code":"model-not-loaded","retryable":true}`:                                               {"model-not-loaded", true},
		`{"code":"audio-unreachable"}`:                                                               {"audio-unreachable", true},
		`{"code":"unsupported-codec","detail":"AMR-WB"}`:                                             {"unsupported-codec", false},
		`{"code":403,"retryable":true}`:                                                              {"analysis-rejected", true},
		`{"detail":{"code":"no-model","message":"x","retryable":true}}`:                              {"no-model", true},
		`{"error":{"code":"unsupported-codec"}}`:                                                     {"unsupported-codec", false},
		`{"error":{"code":403},"detail":"x"}`:                                                        {"analysis-rejected", false},
		`{"code":"dispatch-timeout"}`:                                                                {"analysis-rejected", false},
		`{"type":"about:blank","title":"Bad","status":400,"detail":"x","code":"c","retryable":true}`: {"c", true},
	} {
		code, retryable := ParseRejection([]byte(body))
		if code != want.code || retryable != want.retryable {
			t.Errorf("%s: %s %v", body, code, retryable)
		}
	}
}

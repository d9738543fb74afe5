package event_test

import (
	"strings"
	"testing"

	"sori.internal/shared/event"
)

func TestAnAnalysisServerNamesItsOwnFailuresInKebabCaseAndNoneOfOurs(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]bool{
		"no-speech": true, "unsupported-codec": true, "analysis-failed": true, "e2e": true, "x": true,
		strings.Repeat("a", 64): true, strings.Repeat("a", 65): false,
		"": false, "No-Speech": false, "no_speech": false, "no speech": false, "-x": false, "x-": false, "a--b": false,
		"7up": false, "x\n": false, "음성-없음": false, "<script>": false, "../x": false,
		"dispatch-timeout": false, "unprojectable": false, "log-lost": false, "staging-lost": false, "internal": false,
	} {
		if got := event.ServerFailureCode(code); got != want {
			t.Errorf("%q: %v, want %v", code, got, want)
		}
	}
}

func TestFailuresOfARecordingAreNotRetryable(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]bool{
		"unsupported-codec": false, "unsupported-audio": false, "no-audio": false, "audio-too-long": false,
		"analysis-crashed": false, "decode-limit-exceeded": false,
		"audio-unreachable": true, "analysis-failed": true, "analysis-timeout": true, "analysis-unavailable": true,
	} {
		known, ok := event.FailureCodeOf(code)
		if !ok || known.Retryable != want || !known.Server {
			t.Errorf("%s: %+v %v", code, known, ok)
		}
	}
	seen := map[string]bool{}
	for _, c := range event.FailureCodes() {
		if seen[c.Code] {
			t.Errorf("%s is listed twice", c.Code)
		}
		seen[c.Code] = true
	}
}

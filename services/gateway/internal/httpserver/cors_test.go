package httpserver

import (
	"strings"
	"testing"
)

func TestAPageMaySendTheHeadersOfTheAPIAndThoseThatItsPreflightNames(t *testing.T) {
	t.Parallel()
	for requested, added := range map[string]string{
		"":                              "",
		"authorization,idempotency-key": "",
		"baggage, sentry-trace":         ", sentry-trace",
		"x-accel-buffering,expires,authorization": ", x-accel-buffering, expires",
		"author":                        ", author",
		"a b,c\"d,,ä,x:y, ,Accept":      "",
		strings.Repeat("a,", 200) + "b": strings.Repeat(", a", 99),
	} {
		if got := allowedFor(requested); got != allowedHeaders+added {
			t.Errorf("%.60s: %s", requested, got[min(len(got), len(allowedHeaders)):])
		}
	}
}

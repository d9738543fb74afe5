package analysis

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"sori.internal/shared/fault"
)

func TestAQuotedTextShowsNoSecretAndFits(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                       "",
		" plain \t text\n":       "plain \t text",
		"소리가 없습니다":               "소리가 없습니다",
		"a\x00b\x1b[31mc\x7f\rd": "ab[31mcd",
		"bad \xff utf":           "bad  utf",
		"a\u009bb\u202ecod.3pm":  "abcod.3pm",
		"why? because a=b":       "why? because a=b",
		"url: /b/k?X-Amz-Algorithm=A&X-Amz-Signature=f00 (Caused by": "url: /b/k?… (Caused by",
		`<a href="http://h/p?sig=f00">x</a>`:                         `<a href="http://h/p?…">x</a>`,
		"two http://h/?a=1 http://h/?b=2":                            "two http://h/?… http://h/?…",
		strings.Repeat("가", 51):                                      strings.Repeat("가", 49) + "…",
		strings.Repeat("x", 15) + "?sig=" + strings.Repeat("f", 99):  strings.Repeat("x", 15) + "?…",
	} {
		if got := Quote(text, 50); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

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
			if !fault.Is(err, fault.Invalid) || fault.As(err).Detail == "" {
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
			if r.reason == "" || !shown(r.reason, maxReason) {
				t.Fatalf("reason %q", r.reason)
			}
		case statusProcessing:
			if r.percent < 0 || r.percent > 100 || !shown(r.message, maxMessage) {
				t.Fatalf("progress %d %q", r.percent, r.message)
			}
		default:
			t.Fatalf("status %q", r.status)
		}
	})
}

// shown reports whether a text is fit to be shown.
func shown(s string, runes int) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= runes && !strings.ContainsAny(s, "\x00\x1b\x7f\r") && !urlQuery.MatchString(s)
}

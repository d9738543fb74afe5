package analysis

import (
	"strings"
	"testing"
)

func TestASanitizedTextShowsNoSecretAndIsNotTooLong(t *testing.T) {
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
		strings.Repeat("소", 4<<20):                                   strings.Repeat("소", 49) + "…",
		strings.Repeat("\x00", maxSanitized) + "late":                "…", // the end, after maxSanitized bytes, is not read
	} {
		if got := Sanitize(text, 50); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

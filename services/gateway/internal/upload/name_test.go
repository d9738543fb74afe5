package upload

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCleanName(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"":                       "",
		"a.wav":                  "a.wav",
		" 안녕 하세요.wav ":           "안녕 하세요.wav",
		"a\x00b\nc\x7f\u0085d":   "abcd",
		`C:\fakepath\a.wav`:      "a.wav",
		"../../../etc/passwd":    "passwd",
		"../..":                  "",
		".":                      "",
		"a\u2028b.wav":           "ab.wav",
		"a/":                     "",
		"\u202egpj.exe":          "gpj.exe",
		"\xff\xfea.wav":          "a.wav",
		"👩‍🎤.wav":                "👩‍🎤.wav",
		"\u1112\u1161\u11ab.wav": "한.wav", // macOS sends names in this form
		"e\u0301.wav":            "é.wav",
	} {
		if got := CleanName(given); got != want {
			t.Errorf("%q became %q, not %q", given, got, want)
		}
	}
}

func FuzzCleanName(f *testing.F) {
	f.Add("a.wav")
	f.Add(strings.Repeat("가", 300))
	f.Add("\xff/\\\u202e\x00")
	f.Fuzz(func(t *testing.T, given string) {
		got := CleanName(given)
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > maxName || strings.ContainsAny(got, "/\\\x00\n\u202e") {
			t.Errorf("%q became %q", given, got)
		}
		if again := CleanName(got); len(again) > len(got) {
			t.Errorf("%q grew to %q", got, again)
		}
	})
}

func FuzzParseDigest(f *testing.F) {
	f.Add("sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:, sha-512=:YQ==:;p=1")
	f.Add("=,=;:")
	f.Fuzz(func(t *testing.T, header string) {
		if digest, err := ParseDigest(header); err != nil && digest != nil || digest != nil && len(digest) != 32 {
			t.Errorf("%q gave %x, %v", header, digest, err)
		}
	})
}

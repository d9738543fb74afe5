package upload_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"sori.internal/services/uploader/internal/upload"
)

const job = "01890a5d-ac96-774b-bcce-b302099a8057"

func TestAFileNameIsOnlyASanitizedSuffixOfItsKey(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"take.wav":         "take.wav",
		"take 1 (b).wav":   "take_1__b_.wav",
		"../../etc/passwd": "passwd",
		"..":               "audio",
		"...":              "audio",
		".":                "audio",
		"":                 "audio",
		"/":                "audio",
		"a/b\\c.wav":       "c.wav",
		`C:\tmp\소리.wav`:    "소리.wav",
		"소리 녹음.m4a":        "소리_녹음.m4a",
		"🎤.wav":            "_.wav",
		"a\x00b\r\nc.wav":  "a_b__c.wav",
		"\xff\xfe.wav":     "__.wav",
		".htaccess":        "htaccess",
		"%2e%2e%2fx":       "_2e_2e_2fx",
		"a?b#c&d=e.wav":    "a_b_c_d_e.wav",
		"a/":               "a",
	} {
		if got := upload.Key(job, name); got != "audio/"+job+"_"+want {
			t.Errorf("%q became %q, want the suffix %q", name, got, want)
		}
	}
}

func TestALongFileNameKeepsItsExtension(t *testing.T) {
	t.Parallel()
	for _, name := range []string{strings.Repeat("a", 5000) + ".wav", strings.Repeat("소", 5000) + ".wav"} {
		key := upload.Key(job, name)
		if !strings.HasSuffix(key, ".wav") || !utf8.ValidString(key) || len(key) > 200 {
			t.Errorf("%d bytes: %q", len(key), key)
		}
	}
}

func FuzzKey(f *testing.F) {
	for _, name := range []string{
		"", "take.wav", "../../etc/passwd", `a/b\c.wav`, "소리.wav", "🎤", "...", "\x00\r\n", "\xff", strings.Repeat("é", 300), strings.Repeat("/", 50),
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		key := upload.Key(job, name)
		suffix, ok := strings.CutPrefix(key, "audio/"+job+"_")
		if !ok || suffix == "" || len(key) > 1024 || !utf8.ValidString(key) {
			t.Fatalf("%q", key)
		}
		for _, r := range suffix {
			if !strings.ContainsRune("._-", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
				t.Fatalf("%q holds %q", key, r)
			}
		}
		if key != upload.Key(job, name) {
			t.Fatal("two keys for one name")
		}
	})
}

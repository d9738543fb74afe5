package upload

import (
	"crypto/sha256"
	"strings"
	"testing"

	"sori.internal/shared/fault"
)

func TestBothFormsOfAKeyAreOneKey(t *testing.T) {
	t.Parallel()
	for text, forms := range map[string][]string{
		"8e03978e-40d5-43dd-bc93-6894a57f9324": {`"8e03978e-40d5-43dd-bc93-6894a57f9324"`, " 8e03978e-40d5-43dd-bc93-6894a57f9324\t"},
		`a"b\c`:                                {`"a\"b\\c"`},
		"a, b":                                 {`"a, b"`},
		" ":                                    {`" "`},
		"키":                                    {"키"},
		strings.Repeat("x", 255):               {`"` + strings.Repeat("x", 255) + `"`},
	} {
		want, err := parseKey([]string{`"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`}, "")
		if text == "키" {
			want, err = parseKey([]string{text}, "")
		}
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		for _, form := range forms {
			if got, err := parseKey([]string{form}, ""); err != nil || *got != *want {
				t.Errorf("%s is another key than %q: %v", form, text, err)
			}
		}
	}
	if key, err := parseKey(nil, ""); key != nil || err != nil {
		t.Errorf("no header: %v %v", key, err)
	}
	a, _ := parseKey([]string{"a"}, "")
	if b, _ := parseKey([]string{"A"}, ""); *a == *b {
		t.Error("two keys are one")
	}
}

func TestOneTextOfTwoOwnersAreTwoKeys(t *testing.T) {
	t.Parallel()
	seen := map[Key]string{}
	for _, owner := range []string{"", "alice", "bob", "alic", "a"} {
		for _, text := range []string{"k", "ek", "lice", "alice", "alicek"} {
			key, err := parseKey([]string{text}, owner)
			if err != nil {
				t.Fatal(err)
			}
			if other, ok := seen[*key]; ok {
				t.Errorf("%q of %q is the key of %s", text, owner, other)
			}
			seen[*key] = text + " of " + owner
		}
	}
	before, err := parseKey([]string{"k"}, "")
	if err != nil || *before != sha256.Sum256([]byte("k")) {
		t.Error("a key that was stored before there were owners is another one now")
	}
}

func TestAMalformedKeyIsRefused(t *testing.T) {
	t.Parallel()
	for _, lines := range [][]string{
		{""}, {" "}, {`""`}, {`"`}, {`"a`}, {`"a\"`}, {`"a\`}, {`"a\b"`}, {`"a"b`}, {`"a" "b"`}, {`"키"`}, {"a\nb"}, {"a\x00"}, {"\x7f"}, {"\"a\tb\""},
		{strings.Repeat("x", 256)}, {`"` + strings.Repeat("x", 256) + `"`}, {"a", "a"}, {"a", ""},
	} {
		if _, err := parseKey(lines, ""); !fault.Is(err, fault.Invalid) || fault.As(err).Code != "malformed-idempotency-key" {
			t.Errorf("%q: %v", lines, err)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	for _, seed := range []string{"a", `"a\"b"`, `"`, "", `"\`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		key, err := parseKey([]string{line}, "")
		if (key == nil) != (err != nil) || err != nil && fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: %v %v", line, key, err)
		}
	})
}

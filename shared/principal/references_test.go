package principal_test

import (
	"testing"

	"sori.internal/shared/principal"
)

func TestReferencesSurviveAHeader(t *testing.T) {
	t.Parallel()
	for _, r := range []principal.References{
		{}, {TextGridURL: "s3://sori/ref/소리 1.TextGrid"}, {TextGridURL: "a\r\nb", PitchURL: "https://elsewhere.example/1.json?a=b"},
	} {
		header, err := r.Header()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range header {
			if c <= ' ' || c > '~' {
				t.Errorf("the header is %q", header)
			}
		}
		if read, err := principal.ParseReferences(header); err != nil || read != r {
			t.Errorf("%+v became %+v, %v", r, read, err)
		}
	}
	for _, header := range []string{"", "{}", "e30=", "WzFd", "!"} {
		if r, err := principal.ParseReferences(header); err == nil {
			t.Errorf("%q became %+v", header, r)
		}
	}
}

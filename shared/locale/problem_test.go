package locale_test

import (
	"testing"

	"sori.internal/shared/locale"
	"sori.internal/shared/testkit/raised"
)

func TestEveryProblemHasAKoreanSentence(t *testing.T) {
	t.Parallel()
	exempt := map[string]bool{}
	for _, code := range raised.ForOperators() {
		exempt[code] = true
	}
	problems, err := raised.Failures("../../services", "..")
	if err != nil || len(problems) < 60 {
		t.Fatalf("%d problems are found in the source: %v", len(problems), err)
	}
	for _, p := range problems {
		detail := p.Detail
		if detail == "" {
			detail = "made at run time"
		}
		if !exempt[p.Code] && locale.Problem(locale.Korean, p.Code, detail, nil) == detail {
			t.Errorf("%s: %s has no Korean sentence for %q", p.Place, p.Code, p.Detail)
		}
	}
}

func TestAProblemStaysEnglishWhereNothingElseIsKnown(t *testing.T) {
	t.Parallel()
	for _, l := range []locale.Language{locale.Korean, locale.English} {
		if got := locale.Problem(l, "never-heard-of", "Told as it is.", nil); got != "Told as it is." {
			t.Errorf("%s: %q", l, got)
		}
	}
	if got := locale.Problem(locale.English, "too-large", "Too large.", nil); got != "Too large." {
		t.Error(got)
	}
}

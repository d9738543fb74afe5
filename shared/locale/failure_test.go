package locale_test

import (
	"strings"
	"testing"
	"unicode"

	"sori.internal/shared/event"
	"sori.internal/shared/locale"
)

func TestEveryCodeThatAJobCanFailWithHasASentenceInBothLanguages(t *testing.T) {
	t.Parallel()
	for _, c := range event.FailureCodes() {
		const own = "files.example answered 404."
		ko, en := locale.FailureText(locale.Korean, c.Code, own), locale.FailureText(locale.English, c.Code, own)
		if ko == own || en == own || !strings.ContainsFunc(ko, func(r rune) bool { return unicode.Is(unicode.Hangul, r) }) ||
			strings.ContainsFunc(en, func(r rune) bool { return r > unicode.MaxASCII }) || !strings.HasSuffix(ko, ".") || !strings.HasSuffix(en, ".") {
			t.Errorf("%s: %q %q", c.Code, ko, en)
		}
	}
}

func TestACodeThatIsNotOursShowsItsOwnWordsOrAGeneralSentence(t *testing.T) {
	t.Parallel()
	if got := locale.FailureText(locale.Korean, "no-speech", "Nobody speaks."); got != "Nobody speaks." {
		t.Error(got)
	}
	for l, want := range map[locale.Language]string{
		locale.Korean:  "주어진 주소에서 녹음 파일을 가져오지 못했습니다. files.example answered 404.",
		locale.English: "The recording could not be fetched from its URL. files.example answered 404.",
	} {
		if got := locale.FailureText(l, "fetch-failed", "files.example answered 404."); got != want {
			t.Errorf("%s: %q", l, got)
		}
	}
	for l, want := range map[locale.Language]string{locale.Korean: "작업이 실패했습니다.", locale.English: "The job failed."} {
		if got := locale.FailureText(l, "no-speech", ""); got != want {
			t.Errorf("%s: %q", l, got)
		}
	}
}

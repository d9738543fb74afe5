package locale_test

import (
	"testing"
	"time"

	"sori.internal/shared/locale"
)

func TestTheHeaderChoosesAndSilenceDecidesTheRest(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]locale.Language{
		"": "ko", "en": "en", "en-US,en;q=0.9": "en", "ko-KR,ko;q=0.9,en;q=0.8": "ko", "fr, en;q=0.3": "en",
		"fr": "ko", "en;q=0": "ko", "*": "ko", ";;;q=x": "ko", "en;q=0.2, ko;q=0.9": "ko",
	} {
		if got := locale.Choose(header, locale.Korean); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
	if got := locale.Choose("", locale.English); got != locale.English {
		t.Error(got)
	}
}

func TestEverySentenceHasBothLanguages(t *testing.T) {
	t.Parallel()
	for _, m := range []locale.Message{
		locale.Accepted, locale.Received, locale.Fetching, locale.Uploading, locale.Stored, locale.Waiting, locale.Queued, locale.Shared, locale.Dispatched, locale.Refused,
		locale.Completed, locale.Failed, locale.Canceled, locale.Erased, locale.AlreadyHad,
	} {
		ko, en := locale.Text(locale.Korean, m), locale.Text(locale.English, m)
		if ko == string(m) || en == string(m) || ko == en {
			t.Errorf("%s: %q %q", m, ko, en)
		}
	}
	if got := locale.Text(locale.Korean, "unheard-of"); got != "unheard-of" {
		t.Errorf("a message without a sentence: %q", got)
	}
}

func TestASentenceTellsItsTimeInUTC(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 3, 0, 4, 5, 678, time.FixedZone("KST", 9*60*60))
	for l, want := range map[locale.Language]string{
		locale.Korean:  "분석 서버 대기 중, 다음 시도 15:04:05 UTC",
		locale.English: "Waiting for the analysis server, next try at 15:04:05 UTC",
	} {
		if got := locale.TextAt(l, locale.Waiting, at); got != want {
			t.Errorf("%s: %q", l, got)
		}
	}
	if got := locale.TextAt(locale.English, locale.Stored, time.Time{}); got != "Requesting analysis..." {
		t.Errorf("a sentence without a time: %q", got)
	}
}

func TestOnlyTheTwoLanguagesAreASetting(t *testing.T) {
	t.Parallel()
	var l locale.Language
	if err := l.UnmarshalText([]byte("en")); err != nil || l != locale.English {
		t.Error(l, err)
	}
	if l.UnmarshalText([]byte("fr")) == nil {
		t.Error("fr accepted")
	}
}

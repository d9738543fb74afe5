package media_test

import (
	"strings"
	"testing"

	"sori.internal/shared/fault"
	"sori.internal/shared/media"
)

func TestATextInPlaceOfARecordingIsCalledText(t *testing.T) {
	t.Parallel()
	for text, isText := range map[string]bool{
		"recording.wav":                true,
		"[object Object]":              true,
		"undefined":                    true,
		"{}":                           true,
		"file:///data/user/0/녹음 1.m4a": true,
		"data:audio/wav;base64," + strings.Repeat("Ab+/", 500): true,
		"<!doctype html>\r\n\t<title>Sign in</title>":          true,
		strings.Repeat("a", 511) + "녹음":                        true, // a character across the end of what is examined
		"\x00\x01\x02":                                         false,
		"\x89PNG\r\n\x1a\n":                                    false,
		"text, and then\x00":                                   false,
		"text that ends in the middle of a character \xeb":     false,
		"\xb3\xec\xc0\xbd":                                     false, // EUC-KR
	} {
		_, err := media.Recognize([]byte(text))
		if err == nil || fault.As(err).Code != "unsupported-audio" {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got := strings.Contains(fault.As(err).Detail, "is text"); got != isText {
			t.Errorf("%q: %s", text, fault.As(err).Detail)
		}
	}
}

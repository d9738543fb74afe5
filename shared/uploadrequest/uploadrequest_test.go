package uploadrequest_test

import (
	"net/http"
	"testing"

	"sori.internal/shared/uploadrequest"
)

func TestADescriptionArrivesAsItWas(t *testing.T) {
	t.Parallel()
	for _, d := range []uploadrequest.Description{
		{TokenID: 1},
		{TokenID: 1, TextGridURL: "a\r\nb"},
		{TokenID: 7, TextGridURL: "s3://ref/7.TextGrid", PitchURL: "https://ref.example/소리 7.json?a=1", FileName: "녹음 \"1\".wav", SHA256: "ab"},
	} {
		text, err := d.Encode()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range text {
			if c <= ' ' || c > '~' {
				t.Errorf("the header is %q", text)
			}
		}
		got, err := uploadrequest.FromHeader(http.Header{uploadrequest.Header: {text}})
		if err != nil || got != d {
			t.Errorf("%+v became %+v, %v", d, got, err)
		}
	}
}

func TestWhatIsNoDescriptionIsRefused(t *testing.T) {
	t.Parallel()
	for name, values := range map[string][]string{
		"none": nil, "empty": {""}, "not base64": {"{}"}, "not JSON": {"e30x"}, "without a token": {"e30"}, "an array": {"WzFd"}, "padded": {"eyJ0b2tlbl9pZCI6MX0="}, "two": {"e30", "e30"},
	} {
		if d, err := uploadrequest.FromHeader(http.Header{uploadrequest.Header: values}); err == nil {
			t.Errorf("%s is taken for %+v", name, d)
		}
	}
}

package objects

import (
	"mime"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"sori.internal/services/tracker/internal/query"
)

func TestAContentDispositionHasTheNameInASCIIAndInUTF8(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"a b.wav":         `filename="a b.wav"; filename*=UTF-8''a%20b.wav`,
		"녹음 1.wav":        `filename="_ 1.wav"; filename*=UTF-8''%EB%85%B9%EC%9D%8C%201.wav`,
		"녹음.wav":          `filename="recording.wav"; filename*=UTF-8''%EB%85%B9%EC%9D%8C.wav`,
		"녹음":              `filename="recording"; filename*=UTF-8''%EB%85%B9%EC%9D%8C`,
		"café.wav":        `filename="cafe.wav"; filename*=UTF-8''caf%C3%A9.wav`,
		`say "hi"\50%`:    `filename="say _hi_50_"; filename*=UTF-8''say%20%22hi%22%5C50%25`,
		"a;b=c,d'e*f.wav": `filename="a;b=c,d'e*f.wav"; filename*=UTF-8''a%3Bb%3Dc%2Cd%27e%2Af.wav`,
	} {
		for download, kind := range map[bool]string{false: "inline", true: "attachment"} {
			if got := contentDisposition(download, name); got != kind+"; "+want {
				t.Errorf("%q: %s", name, got)
			}
		}
	}
	if got := contentDisposition(true, ""); got != "attachment" {
		t.Errorf("no name: %s", got)
	}
}

func TestALongNameIsShortenedBeforeItsExtension(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		strings.Repeat("a", 255):          strings.Repeat("a", 255),
		strings.Repeat("a", 256):          strings.Repeat("a", 255),
		strings.Repeat("가", 255) + ".wav": strings.Repeat("가", 83) + ".wav",
		strings.Repeat("😀", 251) + ".wav": strings.Repeat("😀", 62) + ".wav",
		"a." + strings.Repeat("é", 200):   "a." + strings.Repeat("é", 126),
	} {
		got := contentDisposition(true, name)
		if _, star, _ := strings.Cut(got, "; filename*=UTF-8''"); star != extendedValue(want) {
			t.Errorf("%q: %s", name, got)
		}
	}
}

// nginx answers with 502 if the headers of an answer, of which Location is one, exceed 4 KiB.
func TestAURLWithALongNameFitsIntoTheHeadersThatAProxyAccepts(t *testing.T) {
	t.Parallel()
	client, err := minio.New("s3.example.com", &minio.Options{
		Creds: credentials.NewStaticV4("key", "secret", strings.Repeat("t", 1000)), Region: "ap-northeast-2", // the token is that of a role
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, letter := range []string{"a", "é", "가", "😀", "%"} {
		name := strings.Repeat(letter, 251) + ".webm"
		link, err := New(client).Link(t.Context(), "GET", query.Recording{
			Bucket: "recordings", Key: "audio/" + strings.Repeat("k", 60), FileName: name, MediaType: "audio/webm",
		}, true)
		if err != nil || len(link) > 3<<10 {
			t.Errorf("%q: a URL of %d bytes, %v", letter, len(link), err)
		}
	}
}

func FuzzContentDisposition(f *testing.F) {
	f.Add("녹음.wav")
	f.Add("\"\\\r\n\x00;\xff")
	f.Fuzz(func(t *testing.T, name string) {
		got := contentDisposition(true, name)
		if strings.IndexFunc(got, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 {
			t.Errorf("%q: %q is not plain ASCII", name, got)
		}
		plain, star, _ := strings.Cut(got, "; filename*=")
		if _, _, err := mime.ParseMediaType(plain); err != nil {
			t.Errorf("%q: %q: %v", name, plain, err)
		}
		if _, told, err := mime.ParseMediaType("attachment; filename*=" + star); name != "" && (err != nil || told["filename"] != cutName(name)) {
			t.Errorf("%q: %q: %q, %v", name, star, told["filename"], err)
		}
	})
}

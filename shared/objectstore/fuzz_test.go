package objectstore_test

import (
	"path"
	"strings"
	"testing"

	"sori.internal/shared/objectstore"
)

// Whatever text a reference has: if it is allowed, it points to no recording, and to nothing
// outside of the allowed prefixes. This must also hold for a server that stores objects as files
// and follows dots and repeated slashes in a key.
func FuzzResolve(f *testing.F) {
	cfg := objectstore.Config{Region: "us-east-1", Bucket: "home", References: "refs", Endpoint: "http://s3:7070"}
	narrow := cfg
	narrow.Prefixes = objectstore.Prefixes{"s3://refs/pitch/", "s3://home/", "https://files.example.com/pitch/"}
	for _, seed := range []string{
		"k.json", "s3://refs/k", "s3://home/pitch/k", "s3://home/audio/1_a.wav", "http://s3:7070/home/audio/1_a.wav",
		"https://home.s3.amazonaws.com/audio/1_a.wav", "http://S3:7070/home/%61udio/1_a.wav", `s3://home/pitch\..\audio\1_a.wav`,
		"https://files.example.com/pitch/k?x=1", "https://a@files.example.com/pitch/k", "s3://home/./audio/x", "../home/audio/x",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, ref string) {
		for _, c := range []objectstore.Config{cfg, narrow} {
			r, err := c.Resolve(ref)
			if err != nil {
				continue
			}
			if r.URL != "" {
				if len(c.Prefixes) == 0 || r.Bucket+r.Key != "" {
					t.Errorf("%q became %+v", ref, r)
				}
				continue
			}
			file := path.Join("/", r.Bucket, strings.ReplaceAll(r.Key, `\`, "/"))
			if strings.HasPrefix(file, "/home/audio/") {
				t.Errorf("%q names the recording %s", ref, file)
			}
			allowed := []string{"/home/", "/refs/"}
			if len(c.Prefixes) > 0 {
				allowed = []string{"/home/", "/refs/pitch/"}
			}
			if !strings.HasPrefix(file+"/", allowed[0]) && !strings.HasPrefix(file+"/", allowed[1]) {
				t.Errorf("%q names %s, which is outside of the prefixes", ref, file)
			}
		}
	})
}

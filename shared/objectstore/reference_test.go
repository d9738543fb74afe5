package objectstore_test

import (
	"fmt"
	"testing"

	"sori.internal/shared/config"
	"sori.internal/shared/fault"
	"sori.internal/shared/objectstore"
)

func TestEveryFormOfAReferenceNamesTheSameObject(t *testing.T) {
	t.Parallel()
	cfg := objectstore.Config{
		Region: "ap-northeast-2", Bucket: "home",
		Endpoint: "http://127.0.0.1:9000", PublicEndpoint: "https://Objects.example.org:443",
		Prefixes: objectstore.Prefixes{"s3://b/", "s3://a.b/", "s3://home/", "s3://refs/", "s3://old/", "s3://new/"},
	}
	for ref, want := range map[string]string{
		"s3://b/ref/1.json": "s3://b/ref/1.json",
		"https://b.s3.ap-northeast-2.amazonaws.com/ref/1.json":     "s3://b/ref/1.json",
		"https://b.s3.amazonaws.com/ref/1.json":                    "s3://b/ref/1.json",
		"https://s3.ap-northeast-2.amazonaws.com/b/ref/1.json":     "s3://b/ref/1.json",
		"http://127.0.0.1:9000/b/ref/1.json":                       "s3://b/ref/1.json",
		"https://b.objects.example.org/ref/1.json":                 "s3://b/ref/1.json",
		"https://a.b.s3.amazonaws.com/k":                           "s3://a.b/k",
		"ref/1.json":                                               "s3://home/ref/1.json",
		"/ref/1.json":                                              "s3://home/ref/1.json",
		"https://b.s3.amazonaws.com/%EC%86%8C%EB%A6%AC.json?x=1#y": "s3://b/소리.json",
	} {
		got, err := cfg.Resolve(ref)
		if err != nil || got.S3() != want {
			t.Errorf("%s: %v %v, want %s", ref, got.S3(), err, want)
		}
	}
	for want, buckets := range map[string][2]string{
		"s3://home/ref/소리 1.TextGrid": {"", ""}, "s3://refs/ref/소리 1.TextGrid": {"refs", ""},
		"s3://old/ref/소리 1.TextGrid": {"", "old"}, "s3://new/ref/소리 1.TextGrid": {"new", "old"},
	} {
		cfg.References, cfg.LegacyReferences = buckets[0], buckets[1]
		if got, err := cfg.Resolve("ref/소리 1.TextGrid"); err != nil || got.S3() != want {
			t.Errorf("a bare key with %v: %v %v, want %s", buckets, got.S3(), err, want)
		}
		if got, err := cfg.Resolve("s3://b/k"); err != nil || got.S3() != "s3://b/k" {
			t.Errorf("a reference with its bucket, with %v: %v %v", buckets, got.S3(), err)
		}
	}
	for code, refs := range map[string][]string{
		"reference-invalid": {
			"", "/", "//", "s3://", "s3://b//", "s3://b", "s3://b/", "s3:///k", "ftp://b.s3.amazonaws.com/k", "https://", "javascript://b/k", "file:///etc/passwd", "https:///p",
			"https://user:password@b.s3.amazonaws.com/k",
		},
		"reference-foreign": {
			"https://example.com/b/k", "https://b.s3.amazonaws.com/", "https://evil.org/?s3.amazonaws.com/b/k",
			"https://s3.amazonaws.com.evil.org/b/k", "https://b.s3.eu-west-1.amazonaws.com/k", "http://127.0.0.1:5432/b/k",
			"http://169.254.169.254/latest/meta-data",
		},
	} {
		for _, ref := range refs {
			if got, err := cfg.Resolve(ref); err == nil || fault.As(err).Code != code {
				t.Errorf("%q became %v, %v, want %s", ref, got, err, code)
			}
		}
	}
}

func TestReferencesNameNoRecordingAndNothingOutsideOfThePrefixes(t *testing.T) {
	t.Parallel()
	cfg := objectstore.Config{Region: "us-east-1", Bucket: "home", References: "refs", Endpoint: "http://s3:7070"}
	all := cfg
	all.Prefixes = objectstore.Prefixes{"s3://home/", "s3://refs/"}
	narrow := cfg
	narrow.Prefixes = objectstore.Prefixes{"s3://refs/pitch/", "https://files.example.com/pitch/"}
	for name, c := range map[string]struct {
		cfg     objectstore.Config
		allowed []string
		refused []string
	}{
		"without the setting": {cfg, []string{"k.json", "s3://refs/k", "s3://refs/audio/k", "s3://home/pitch/k", "s3://home/audio.json"}, []string{
			"s3://home/audio/1_a.wav", "http://s3:7070/home/audio/1_a.wav", "https://home.s3.amazonaws.com/audio/1_a.wav",
			"https://s3.us-east-1.amazonaws.com/home/audio/1_a.wav", "http://S3:7070/home/%61udio/1_a.wav", "s3://home//audio/1_a.wav",
			"s3://home/pitch/../audio/1_a.wav", "s3://home/./audio/1_a.wav", `s3://home/pitch\..\audio\1_a.wav`, `s3://home/audio\1_a.wav`, `s3://home/\audio/1_a.wav`, "s3://another/k", "../home/audio/1_a.wav",
		}},
		"with whole buckets": {all, []string{"s3://home/pitch/k"}, []string{"s3://home/audio/1_a.wav", "s3://another/k", "s3://home2/k"}},
		"with narrow prefixes": {narrow, []string{"pitch/k", "s3://refs/pitch/k", "https://files.example.com/pitch/k?x=1", "https://FILES.example.com:443/pitch/k"}, []string{
			"k", "s3://refs/pitch", "s3://refs/pitchfork/k", "s3://home/pitch/k", "https://files.example.com/other", "http://files.example.com/pitch/k",
			"https://files.example.com/pitch/../other", "https://files.example.com.evil.org/pitch/k", "https://files.example.com:8443/pitch/k",
			"https://a@files.example.com/pitch/k",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, ref := range c.allowed {
				if _, err := c.cfg.Resolve(ref); err != nil {
					t.Errorf("%s: %v", ref, err)
				}
			}
			for _, ref := range c.refused {
				if got, err := c.cfg.Resolve(ref); err == nil {
					t.Errorf("%s became %+v", ref, got)
				}
			}
		})
	}
}

func TestPrefixesAreReadAsTheyAreMeant(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "[]", " s3://refs , s3://refs/pitch/,": "[s3://refs/ s3://refs/pitch/]", "https://Files.example.com:443": "[https://files.example.com/]",
		"https://files.example.com/a/": "[https://files.example.com/a/]", "https://files.example.com/a/../b": "[https://files.example.com/b]",
		"refs": "", "s3://": "", "ftp://x/": "", "https://u:p@x/": "", "https://x/?y": "",
	} {
		var cfg struct {
			Prefixes objectstore.Prefixes `env:"REFERENCE_PREFIXES"`
		}
		err := config.Load(config.Map(map[string]string{"REFERENCE_PREFIXES": text}), &cfg)
		if (err == nil) != (want != "") || err == nil && fmt.Sprint(cfg.Prefixes) != want {
			t.Errorf("%q became %v, %v, want %s", text, cfg.Prefixes, err, want)
		}
	}
}

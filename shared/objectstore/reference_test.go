package objectstore_test

import (
	"testing"

	"sori.internal/shared/objectstore"
)

func TestEveryFormOfAReferenceNamesTheSameObject(t *testing.T) {
	t.Parallel()
	cfg := objectstore.Config{
		Region: "ap-northeast-2", Bucket: "home",
		Endpoint: "http://127.0.0.1:9000", PublicEndpoint: "https://objects.example.org",
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
		got, ok := cfg.Parse(ref)
		if !ok || got.S3() != want {
			t.Errorf("%s: %v %v, want %s", ref, got.S3(), ok, want)
		}
	}
	for want, buckets := range map[string][2]string{
		"s3://home/ref/소리 1.TextGrid": {"", ""}, "s3://refs/ref/소리 1.TextGrid": {"refs", ""},
		"s3://old/ref/소리 1.TextGrid": {"", "old"}, "s3://new/ref/소리 1.TextGrid": {"new", "old"},
	} {
		cfg.References, cfg.LegacyReferences = buckets[0], buckets[1]
		if got, ok := cfg.Parse("ref/소리 1.TextGrid"); !ok || got.S3() != want {
			t.Errorf("a bare key with %v: %v %v, want %s", buckets, got.S3(), ok, want)
		}
		if got, ok := cfg.Parse("s3://b/k"); !ok || got.S3() != "s3://b/k" {
			t.Errorf("a reference with its bucket, with %v: %v %v", buckets, got.S3(), ok)
		}
	}
	for _, ref := range []string{
		"", "/", "s3://", "s3://b", "s3://b/", "https://example.com/b/k", "ftp://b.s3.amazonaws.com/k",
		"https://b.s3.amazonaws.com/", "https://evil.org/?s3.amazonaws.com/b/k", "https://s3.amazonaws.com.evil.org/b/k",
	} {
		if got, ok := cfg.Parse(ref); ok {
			t.Errorf("%q became %v", ref, got)
		}
	}
}

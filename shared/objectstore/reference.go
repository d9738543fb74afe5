package objectstore

import (
	"cmp"
	"net/url"
	"strings"
)

// Reference is an object as people write it down.
type Reference struct {
	Bucket, Key string
}

// S3 gives the reference as s3://bucket/key.
func (r Reference) S3() string { return "s3://" + r.Bucket + "/" + r.Key }

// Parse reads a reference in any of the forms that the catalogue accepts:
// s3://bucket/key, a virtual-host or path-style URL of AWS or of one of our
// endpoints, or a bare key, which may have spaces, in the bucket of references. Any other URL is no reference
// to an object of ours and gives false: it is used as it stands.
func (cfg Config) Parse(ref string) (Reference, bool) {
	if rest, ok := strings.CutPrefix(ref, "s3://"); ok {
		bucket, key, _ := strings.Cut(rest, "/")
		return Reference{bucket, key}, bucket != "" && key != ""
	}
	if !strings.Contains(ref, "://") {
		key := strings.TrimPrefix(ref, "/")
		return Reference{cmp.Or(cfg.References, cfg.LegacyReferences, cfg.Bucket), key}, key != ""
	}
	u, err := url.Parse(ref)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return Reference{}, false
	}
	path := strings.TrimPrefix(u.Path, "/")
	for _, host := range cfg.hosts() {
		if u.Host == host {
			bucket, key, _ := strings.Cut(path, "/")
			return Reference{bucket, key}, bucket != "" && key != ""
		}
		if bucket, ok := strings.CutSuffix(u.Host, "."+host); ok && bucket != "" {
			return Reference{bucket, path}, path != ""
		}
	}
	return Reference{}, false
}

// hosts are those that speak S3 for us, the more particular first.
func (cfg Config) hosts() []string {
	hosts := []string{
		"s3." + cfg.Region + ".amazonaws.com", "s3-" + cfg.Region + ".amazonaws.com", "s3.amazonaws.com",
	}
	for _, endpoint := range []string{cfg.Endpoint, cfg.PublicEndpoint} {
		if u, err := url.Parse(endpoint); err == nil && u.Host != "" {
			hosts = append(hosts, u.Host)
		}
	}
	return hosts
}

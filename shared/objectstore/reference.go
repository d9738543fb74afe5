package objectstore

import (
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"sori.internal/shared/config"
	"sori.internal/shared/fault"
)

// Recordings is the prefix of the keys of all recordings, in the bucket of recordings.
const Recordings = "audio/"

// Reference is the target of a reference in the catalogue: an object, or a URL on another host.
type Reference struct {
	Bucket, Key string // bucket and key of an object; empty for a URL
	URL         string // URL on another host; empty for an object
}

// S3 returns the object as s3://bucket/key.
func (r Reference) S3() string { return "s3://" + r.Bucket + "/" + r.Key }

// Resolve returns the target of a reference in the catalogue, if the reference is allowed. The
// forms are
//
//  1. s3://bucket/key,
//  2. a virtual-hosted-style or path-style URL of AWS in the configured region, or of a configured
//     endpoint,
//  3. only a key, which may have spaces, in the bucket of references, and
//  4. a URL on another host that is below an entry of REFERENCE_PREFIXES.
//
// Users write references, and the service reads the targets with its own permissions. Therefore
// only objects below REFERENCE_PREFIXES are allowed, or, without this setting, objects in the
// buckets of references and of recordings. A recording is never allowed. The codes of the errors
// are:
//
//   - reference-foreign: a URL on another host
//   - reference-not-allowed: an object outside of the allowed prefixes, or a recording
//   - reference-invalid: not a reference
func (cfg Config) Resolve(ref string) (Reference, error) {
	r, ok := cfg.parse(ref)
	switch {
	case ok && cfg.mayRead(r):
		return r, nil
	case ok:
		return Reference{}, fault.New(fault.Invalid, "reference-not-allowed",
			"The reference names an object that references may not name.")
	case !isWebURL(ref):
		return Reference{}, fault.New(fault.Invalid, "reference-invalid", "The reference names no possible object.")
	case cfg.Prefixes.allowURL(ref):
		return Reference{URL: ref}, nil
	default:
		return Reference{}, fault.New(fault.Unsupported, "reference-foreign", "The reference names no object of this storage.")
	}
}

// parse returns the object that a reference names, or false if ref names no object.
func (cfg Config) parse(ref string) (Reference, bool) {
	if rest, ok := strings.CutPrefix(ref, "s3://"); ok {
		return object(strings.Cut(rest, "/"))
	}
	if !strings.Contains(ref, "://") {
		return object(cfg.referenceBucket(), strings.TrimPrefix(ref, "/"), true)
	}
	if !isWebURL(ref) {
		return Reference{}, false
	}
	u, err := url.Parse(ref)
	if err != nil {
		return Reference{}, false
	}
	name, keys := hostOf(u), strings.TrimPrefix(u.Path, "/")
	for _, host := range cfg.hosts() {
		if name == host {
			return object(strings.Cut(keys, "/"))
		}
		if bucket, ok := strings.CutSuffix(name, "."+host); ok {
			return object(bucket, keys, true)
		}
	}
	return Reference{}, false
}

func object(bucket, key string, ok bool) (Reference, bool) {
	return Reference{Bucket: bucket, Key: key}, ok && bucket != "" && strings.Trim(key, "/") != ""
}

// isWebURL reports whether ref is an http or https URL without credentials.
func isWebURL(ref string) bool {
	u, err := url.Parse(ref)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil
}

// hostOf returns the host of a URL in lower case, with its port unless that is the default port.
func hostOf(u *url.URL) string {
	host := strings.ToLower(u.Host)
	port := map[string]string{"http": ":80", "https": ":443"}[u.Scheme]
	return strings.TrimSuffix(host, port)
}

// referenceBucket returns the bucket of references that are only a key.
func (cfg Config) referenceBucket() string { return cfg.buckets()[0] }

// buckets returns the buckets of references and of recordings.
func (cfg Config) buckets() []string {
	return slices.DeleteFunc([]string{cfg.References, cfg.LegacyReferences, cfg.Bucket}, func(b string) bool { return b == "" })
}

// mayRead reports whether references to an object are allowed.
func (cfg Config) mayRead(r Reference) bool {
	// A server that stores objects as files could follow dots out of the prefix, ignore slashes at
	// the beginning, and treat a backslash as a slash.
	path := strings.TrimLeft(strings.ReplaceAll(r.Key, `\`, "/"), "/")
	if hasDots(path) || r.Bucket == cfg.Bucket && strings.HasPrefix(path, Recordings) {
		return false
	}
	if len(cfg.Prefixes) == 0 {
		return slices.Contains(cfg.buckets(), r.Bucket)
	}
	return cfg.Prefixes.allow(r.S3())
}

// hasDots reports whether a path has a segment "." or "..".
func hasDots(path string) bool {
	return slices.ContainsFunc(strings.Split(path, "/"), func(segment string) bool { return segment == "." || segment == ".." })
}

// hosts returns the hosts of the storage, the more specific ones first.
func (cfg Config) hosts() []string {
	hosts := []string{
		"s3." + cfg.Region + ".amazonaws.com", "s3-" + cfg.Region + ".amazonaws.com", "s3.amazonaws.com",
	}
	for _, endpoint := range []string{cfg.Endpoint, cfg.PublicEndpoint} {
		if u, err := url.Parse(endpoint); err == nil && u.Host != "" {
			hosts = append(hosts, hostOf(u))
		}
	}
	return hosts
}

// Prefixes lists where references may point: s3://bucket/prefix, or https://host/prefix for files
// on another host. The setting is a comma-separated list.
type Prefixes []string

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Prefixes) UnmarshalText(text []byte) error {
	list, err := config.ParseList(text, parsePrefix)
	*p = list
	return err //nolint:wrapcheck // the error names the entries
}

// parsePrefix reads an entry. It adds a slash after the bucket or the host, so that the entry does
// not match another bucket or host whose name begins with the same characters.
func parsePrefix(entry string) (string, error) {
	u, err := url.Parse(entry)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || !slices.Contains([]string{"s3", "http", "https"}, u.Scheme) {
		return "", fmt.Errorf("%q is neither s3://bucket/prefix nor https://host/prefix", entry)
	}
	if u.Scheme == "s3" {
		bucket, key, _ := strings.Cut(strings.TrimPrefix(entry, "s3://"), "/")
		return "s3://" + bucket + "/" + key, nil
	}
	return u.Scheme + "://" + hostOf(u) + path.Join("/", u.EscapedPath()) + slash(u.Path), nil
}

// slash returns the slash at the end of a path, which path.Join removes, or "".
func slash(p string) string {
	if strings.HasSuffix(p, "/") && strings.Trim(p, "/") != "" {
		return "/"
	}
	return ""
}

func (p Prefixes) allow(ref string) bool {
	return slices.ContainsFunc(p, func(prefix string) bool { return strings.HasPrefix(ref, prefix) })
}

// allowURL reports whether a URL on another host is below one of the prefixes.
func (p Prefixes) allowURL(ref string) bool {
	u, err := url.Parse(ref)
	if err != nil || hasDots(u.Path) {
		return false
	}
	return p.allow(u.Scheme + "://" + hostOf(u) + "/" + strings.TrimPrefix(u.EscapedPath(), "/"))
}

package upload

import (
	"path"
	"strings"
	"unicode"

	"sori.internal/shared/event"
)

// maxSuffix is the largest length of the file name in a key, in bytes. S3 allows keys of 1024
// bytes.
const maxSuffix = 100

// Key returns the S3 key of a recording: audio/{job}_{name}. It replaces every character of the
// name that is not a letter, a digit, a dot, a dash or an underscore, which prevents path
// traversal.
func Key(job, fileName string) string {
	name := strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return '_'
	}, path.Base(strings.ReplaceAll(fileName, `\`, "/")))
	name = strings.TrimLeft(name, ".")
	for len(name) > maxSuffix { // drop the beginning, to keep the extension
		_, name, _ = cutRune(name)
	}
	if name == "" || name == "_" {
		name = "audio"
	}
	return keyPrefix(job) + name
}

// keyRoot is the prefix of the keys of all recordings. It must be equal to objectstore.Recordings.
const keyRoot = "audio/"

// keyPrefix returns the common prefix of the keys of a job's objects.
func keyPrefix(job string) string { return keyRoot + job + "_" }

// TailPrefix returns the prefix of the keys of the tails of a job's resumable upload
// (resumable.Tail). The key of a recording never has this prefix, since Key replaces slashes in
// names.
func TailPrefix(job string) string { return keyPrefix(job) + "/" }

// JobOfKey returns the job to which the key of a recording belongs. It returns false if key is not
// the key of a recording.
func JobOfKey(key string) (job string, ok bool) {
	rest, ok := strings.CutPrefix(key, keyRoot)
	if !ok {
		return "", false
	}
	id, _, ok := strings.Cut(rest, "_")
	if !ok {
		return "", false
	}
	job, ok = event.ParseJobID(id)
	return job, ok && job == id
}

// cutRune splits s after its first rune.
func cutRune(s string) (first, rest string, ok bool) {
	for i := range s {
		if i > 0 {
			return s[:i], s[i:], true
		}
	}
	return s, "", false
}

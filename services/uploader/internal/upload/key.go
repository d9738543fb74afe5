package upload

import (
	"path"
	"strings"
	"unicode"
)

// maxSuffix is how many bytes of a file name a key has at most. S3 allows keys of 1024 bytes.
const maxSuffix = 100

// Key is the S3 key of a recording: audio/{job}_{name}. The name is reduced to letters, digits, dot,
// dash and underscore, so that it is safe from path traversal and never needs escaping.
func Key(job, fileName string) string {
	name := strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return '_'
	}, path.Base(strings.ReplaceAll(fileName, `\`, "/")))
	name = strings.TrimLeft(name, ".")
	for len(name) > maxSuffix { // keep the extension
		_, name, _ = cutRune(name)
	}
	if name == "" || name == "_" {
		name = "audio"
	}
	return keyPrefix(job) + name
}

// keyPrefix is the prefix of the keys of a job's recordings, whatever their names.
func keyPrefix(job string) string { return "audio/" + job + "_" }

// cutRune cuts s after its first rune.
func cutRune(s string) (first, rest string, ok bool) {
	for i := range s {
		if i > 0 {
			return s[:i], s[i:], true
		}
	}
	return s, "", false
}

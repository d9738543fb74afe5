//go:build !tools

package analysis_test

// Lengths, in seconds, that are large enough to show what grows with them. With the tag "tools" they are those of the default settings.
const (
	long    = 300  // a recording
	longest = 1080 // the longest that is taken
)

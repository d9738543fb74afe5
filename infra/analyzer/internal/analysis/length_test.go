//go:build !tools

package analysis_test

// Lengths, in seconds, that are large enough to show what grows with them. With the tag "tools" they are those of the default settings.
const (
	long    = 120 // a recording
	longest = 400 // the longest that is taken
)

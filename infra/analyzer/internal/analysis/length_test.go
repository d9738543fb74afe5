//go:build !tools

package analysis_test

// Lengths in seconds that are large enough to show costs that grow with the length. With the build tag "tools" they are
// the lengths of the default settings.
const (
	long    = 60  // length of a long recording
	longest = 400 // length of the longest recording that is accepted
)

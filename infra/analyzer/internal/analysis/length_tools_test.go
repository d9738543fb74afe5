//go:build tools

package analysis_test

// Lengths, in seconds.
const (
	long    = 7200  // a recording
	longest = 10800 // the longest that is taken: MAX_AUDIO_SECONDS
)

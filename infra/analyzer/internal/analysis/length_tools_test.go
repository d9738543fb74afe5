//go:build tools

package analysis_test

// Lengths, in seconds.
const (
	long    = 7200  // length of a long recording
	longest = 10800 // length of the longest recording that is accepted: MAX_AUDIO_SECONDS
)

//go:build tools

package analysis_test

// Lengths, in seconds.
const (
	long    = 7200  // of a long recording
	longest = 10800 // of the longest recording that is accepted: MAX_AUDIO_SECONDS
)

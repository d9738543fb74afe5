//go:build tools

package analysis_test

// Lengths, in seconds.
const (
	long    = 7200  // duration of a long recording
	longest = 10800 // longest duration of a recording that is accepted: the default of MAX_AUDIO_SECONDS
)

//go:build !tools

package analysis_test

// Durations in seconds: just large enough to show costs that grow with the duration. With the build tag "tools" they
// are as large as the default settings allow (length_tools_test.go).
const (
	long    = 60  // duration of a long recording
	longest = 400 // longest duration of a recording that is accepted
)

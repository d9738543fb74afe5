//go:build !race

package analysis_test

// detector is 1 because this build has no race detector, which would increase the processor time (see race_test.go).
const detector = 1

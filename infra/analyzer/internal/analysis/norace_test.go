//go:build !race

package analysis_test

// detector is the factor by which the race detector increases the processor time of a program.
const detector = 1

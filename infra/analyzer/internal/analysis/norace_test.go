//go:build !race

package analysis_test

// detector is how many times as much processor time a program takes with the race detector.
const detector = 1

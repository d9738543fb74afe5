//go:build race

package analysis_test

// detector is how many times as much processor time a program takes with the race detector, at the
// most. The decoder is built without it.
const detector = 12

//go:build race

package analysis_test

// detector is the largest factor by which the race detector increases the processor time of this process. The decoder
// is built without the race detector.
const detector = 12

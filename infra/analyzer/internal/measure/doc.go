// Package measure holds the meters of the analysis: each takes samples block by block, in bounded memory, and gives its figures at the end.
//
// Every method names its source where it is implemented. Meters that look at one signal take the mono mix (the mean of the channels); the
// loudness and peak meters take the interleaved channels. A figure that the signal does not give (the loudness of silence, the pitch of
// noise) is absent, reported by a false second result, and never NaN or infinite. No meter is safe for concurrent use.
package measure

import "math"

// Decibels converts an amplitude (1 is full scale) to dBFS. It reports false for amplitudes that no logarithm takes.
func Decibels(amplitude float64) (float64, bool) {
	if !(amplitude > 0) || math.IsInf(amplitude, 1) {
		return 0, false
	}
	return 20 * math.Log10(amplitude), true
}

// Package measure contains the meters of the analysis. Each meter reads samples block by block and returns its values at
// the end of the recording.
//
// The documentation of a meter cites the source of its method. Most meters read the mono mix (the mean of the channels);
// the loudness and peak meters read the interleaved channels. If a signal has no value (the loudness of silence, the
// pitch of noise), the second result is false; a value is never NaN or infinite. No meter is safe for concurrent use.
package measure

import "math"

// Decibels converts an amplitude (1 is full scale) to dBFS. It returns false for an amplitude that is not positive or
// not finite.
func Decibels(amplitude float64) (float64, bool) {
	if !(amplitude > 0) || math.IsInf(amplitude, 1) {
		return 0, false
	}
	return 20 * math.Log10(amplitude), true
}

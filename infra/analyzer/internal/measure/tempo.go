package measure

import "slices"

// Durations for counting voiced segments, in frames of 10 ms.
const (
	minVoicedSegment = 4 // a shorter segment contains no syllable and is not counted
	maxVoicedGap     = 2 // a gap of at most this length within a segment is an error of the tracker
)

// VoicedSegments counts the voiced segments of a pitch track of 10 ms frames (0 is unvoiced). Their number per second
// is a measure of the speech rate. N. H. de Jong and T. Wempe, "Praat script to detect syllable nuclei and measure
// speech rate automatically", Behavior Research Methods 41 (2009), count voiced peaks of intensity in the same way. A
// segment may contain several syllables that are joined by voiced consonants, so the number is lower than the number of
// syllables.
func VoicedSegments(hz []float32) int {
	count, length, gap := 0, 0, 0
	for _, f := range hz {
		switch {
		case f > 0:
			before := length
			length += 1 + gap
			gap = 0
			if before < minVoicedSegment && length >= minVoicedSegment {
				count++
			}
		case length > 0 && gap < maxVoicedGap:
			gap++
		default:
			length, gap = 0, 0
		}
	}
	return count
}

// MedianPitch returns the median pitch of the voiced frames, in Hz. It returns false if no frame is voiced.
func MedianPitch(hz []float32) (float64, bool) {
	voiced := Voiced(hz)
	if len(voiced) == 0 {
		return 0, false
	}
	slices.Sort(voiced)
	mid := len(voiced) / 2
	if len(voiced)%2 == 0 {
		return (voiced[mid-1] + voiced[mid]) / 2, true
	}
	return voiced[mid], true
}

// Voiced returns the pitches of the voiced frames, in Hz.
func Voiced(hz []float32) []float64 {
	var out []float64
	for _, f := range hz {
		if f > 0 {
			out = append(out, float64(f))
		}
	}
	return out
}

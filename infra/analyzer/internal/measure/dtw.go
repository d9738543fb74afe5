package measure

import (
	"math"
	"slices"
)

// Limits of the comparison.
const (
	minContour   = 5    // fewest voiced values of a contour that can be compared
	maxContour   = 4000 // most values that are compared, 40 s of voiced frames; a longer contour is thinned
	bandFraction = 0.2  // half width of the band, as a fraction of the length of the longer contour
	scoreScale   = 1.5  // mean distance in semitones at which the score is 100/e
)

// PitchSimilarity compares the melodies of two voiced contours in Hz, independently of the pitch level of the voices and
// the speech rate. Each contour is converted to semitones relative to its own median, and the two are aligned by
// dynamic time warping within a band around the diagonal (H. Sakoe and S. Chiba, "Dynamic programming algorithm
// optimization for spoken word recognition", IEEE Trans. ASSP 26, 1978: symmetric form, slope constraint 0, weights 1
// for a step in one sequence and 2 for a step in both, normalised by the sum of the lengths).
//
// The score is 100·exp(-d/1.5), where d is the mean distance along the path in semitones: 100 for the same melody, 51
// at one semitone. PitchSimilarity returns false if a contour has fewer than five values.
func PitchSimilarity(a, b []float64) (float64, bool) {
	if len(a) < minContour || len(b) < minContour {
		return 0, false
	}
	x, y := semitones(thin(a)), semitones(thin(b))
	return 100 * math.Exp(-warp(x, y)/scoreScale), true
}

// semitones converts frequencies in Hz to semitones relative to their median. Values are clipped to two octaves, so
// that a single octave error of the pitch detection does not dominate the score.
func semitones(hz []float64) []float64 {
	sorted := slices.Clone(hz)
	slices.Sort(sorted)
	median := sorted[len(sorted)/2]
	out := make([]float64, len(hz))
	for i, f := range hz {
		out[i] = max(-24, min(24, 12*math.Log2(f/median)))
	}
	return out
}

// thin averages groups of neighbouring values, so that at most maxContour values remain.
func thin(hz []float64) []float64 {
	by := (len(hz) + maxContour - 1) / maxContour
	if by <= 1 {
		return hz
	}
	var out []float64
	for part := range slices.Chunk(hz, by) {
		sum := 0.0
		for _, f := range part {
			sum += f
		}
		out = append(out, sum/float64(len(part)))
	}
	return out
}

// warp returns the normalised distance along the best path from the beginnings to the ends of x and y. It keeps only
// two rows of the matrix of costs, each as wide as the band.
func warp(x, y []float64) float64 {
	n, m := len(x), len(y)
	radius := int(bandFraction*float64(max(n, m))) + 2
	slope := float64(m-1) / float64(n-1)
	radius = max(radius, int(slope)+2) // the bands of neighbouring rows must overlap
	width := 2*radius + 1
	before, now := make([]float64, width), make([]float64, width)
	beforeFirst := 0
	for i := range n {
		first := int(math.Round(float64(i)*slope)) - radius // column of now[0]
		get := func(j int) float64 {
			if k := j - beforeFirst; i > 0 && j >= 0 && k >= 0 && k < width {
				return before[k]
			}
			return math.Inf(1)
		}
		for k := range width {
			j := first + k
			if j < 0 || j >= m {
				now[k] = math.Inf(1)
				continue
			}
			cost := math.Abs(x[i] - y[j])
			if i == 0 && j == 0 {
				now[k] = 2 * cost
				continue
			}
			best := min(get(j)+cost, get(j-1)+2*cost)
			if k > 0 {
				best = min(best, now[k-1]+cost)
			}
			now[k] = best
		}
		before, now, beforeFirst = now, before, first
	}
	return before[m-1-beforeFirst] / float64(n+m)
}

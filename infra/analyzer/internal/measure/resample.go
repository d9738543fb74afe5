package measure

import "math"

// decimator lowers the sampling rate by an integer factor with a linear-phase low-pass: a sinc under a Blackman window
// (A. V. Oppenheim and R. W. Schafer, "Discrete-Time Signal Processing", section 7.5). The delay of the filter is
// compensated, so that sample i of the output is at the time of sample i*factor of the input.
type decimator struct {
	factor  int
	taps    []float64
	history []float32 // input samples that are still needed; history[0] is at position base
	base    int64     // input position of history[0]; negative at the start, as if silence preceded the input
	next    int64     // input position of the first tap for the next output sample
}

// newDecimator returns a decimator. cutoff is the cutoff frequency as a fraction of the input rate. It must be so far
// below half of the output rate that the transition band of the filter fits between the two.
func newDecimator(factor int, cutoff float64) *decimator {
	d := &decimator{factor: factor}
	half := 16 * factor
	sum := 0.0
	for i := -half; i <= half; i++ {
		x := float64(i)
		window := 0.42 + 0.5*math.Cos(math.Pi*x/float64(half)) + 0.08*math.Cos(2*math.Pi*x/float64(half))
		tap := 2 * cutoff
		if i != 0 {
			tap = math.Sin(2*math.Pi*cutoff*x) / (math.Pi * x)
		}
		d.taps = append(d.taps, tap*window)
		sum += tap * window
	}
	for i := range d.taps {
		d.taps[i] /= sum
	}
	d.history, d.base, d.next = make([]float32, half), int64(-half), int64(-half)
	return d
}

// write reads new input samples. It appends to out every output sample that can now be computed.
func (d *decimator) write(out []float64, mono []float32) []float64 {
	d.history = append(d.history, mono...)
	for {
		at := int(d.next - d.base)
		if at+len(d.taps) > len(d.history) {
			break
		}
		sum := 0.0
		window := d.history[at : at+len(d.taps)]
		for i, tap := range d.taps {
			sum += tap * float64(window[i])
		}
		out = append(out, sum)
		d.next += int64(d.factor)
	}
	if drop := int(d.next - d.base); drop > 1<<14 && drop <= len(d.history) {
		d.history = d.history[:copy(d.history, d.history[drop:])]
		d.base = d.next
	}
	return out
}

// flush appends the last output samples to out, as if silence followed the input.
func (d *decimator) flush(out []float64) []float64 {
	return d.write(out, make([]float32, len(d.taps)/2))
}

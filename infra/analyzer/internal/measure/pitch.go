package measure

import "math"

// Limits of the pitch meter.
const (
	MinPitchHz      = 60.0  // lowest fundamental frequency that the meter finds
	MaxPitchHz      = 600.0 // highest fundamental frequency that the meter finds
	PitchHopSeconds = 0.01  // time between two consecutive values of a track

	pitchRate     = 8000  // Hz; decimation never lowers the rate below this
	pitchCutoff   = 1200  // Hz; cutoff of the low-pass before the difference function
	pitchWindow   = 0.030 // s; length of the window of the difference function
	pitchSilence  = -65.0 // dBFS; a quieter frame is unvoiced
	maxAperiodic  = 0.6   // a dip of the normalised difference function is a candidate only below this value
	maxCandidates = 6
)

// Pitch measures the fundamental frequency every 10 ms with YIN (A. de Cheveigné and H. Kawahara, "YIN, a fundamental
// frequency estimator for speech and music", JASA 111, 2002): the difference function, its cumulative mean
// normalisation and parabolic interpolation. YIN's step 4 compares the dips of each frame with an absolute threshold.
// Here they are candidates instead, and the tracker chooses the best path through the candidates of all frames, so that
// neighbouring frames resolve octave errors. The difference function is computed from the Fourier transform of the
// frame.
//
// A signal of 16 kHz or more is first decimated to between 8 and 16 kHz, which makes the work independent of the input
// rate. Every signal is low-passed at 1200 Hz: strong high harmonics would make the dips so narrow that a period that
// falls between two samples seems worse than its double (the paper low-passes at 1000 Hz for the same reason).
type Pitch struct {
	rate    float64 // sampling rate after decimation
	dec     *decimator
	window  int // W
	minLag  int
	maxLag  int
	buf     []float64 // decimated input; buf[0] is at position base
	base    int64
	frames  int64 // number of input samples
	inRate  int
	track   tracker
	fft     *fft
	work    []complex128
	diff    []float64
	dips    []candidate
	silence float64
}

// NewPitch returns a meter for the mono mix at rate samples per second.
func NewPitch(rate int) *Pitch {
	factor := max(1, rate/pitchRate)
	p := &Pitch{rate: float64(rate) / float64(factor), dec: newDecimator(factor, pitchCutoff/float64(rate)), inRate: rate}
	p.window = int(pitchWindow * p.rate)
	p.minLag = int(p.rate / MaxPitchHz)
	p.maxLag = int(p.rate/MinPitchHz) + 1
	p.fft = newFFT(p.window + p.maxLag + 1)
	p.work = make([]complex128, p.fft.size)
	p.diff = make([]float64, p.maxLag+1)
	lead := p.span() / 2 // a frame is centred on its time, so the first frame begins before the recording
	p.buf, p.base = make([]float64, lead), -int64(lead)
	p.silence = math.Pow(10, pitchSilence/10) * float64(p.window)
	return p
}

// span returns the number of samples in a frame: the window and the longest lag.
func (p *Pitch) span() int { return p.window + p.maxLag }

// Write reads mono samples.
func (p *Pitch) Write(mono []float32) {
	p.frames += int64(len(mono))
	p.buf = p.dec.write(p.buf, mono)
	p.advance()
}

// advance processes every complete frame in the buffer, and discards the samples before the next frame.
func (p *Pitch) advance() {
	for {
		at := p.start() - p.base
		if at+int64(p.span()) > int64(len(p.buf)) {
			break
		}
		p.track.add(p.candidates(p.buf[at:at+int64(p.span())]), PitchHopSeconds)
	}
	if drop := p.start() - p.base; drop > 1<<13 && drop <= int64(len(p.buf)) {
		p.buf = p.buf[:copy(p.buf, p.buf[drop:])]
		p.base += drop
	}
}

// start returns the position of the first sample of the next frame.
func (p *Pitch) start() int64 {
	centre := math.Round(float64(len(p.track.steps)) * PitchHopSeconds * p.rate)
	return int64(centre) - int64(p.span()/2)
}

// Track returns the fundamental frequency in Hz at the times 0, 10, 20 ms and so on up to the duration (0 if the frame
// is unvoiced), and the periodicity of each frame, from 0 to 1. After Track the meter must not be used.
func (p *Pitch) Track() (hz, voicing []float32) {
	p.buf = p.dec.flush(p.buf)
	p.buf = append(p.buf, make([]float64, p.span())...)
	p.advance()
	want := int(math.Ceil(float64(p.frames) / float64(p.inRate) / PitchHopSeconds))
	hz, voicing = p.track.path()
	want = min(want, len(hz))
	return hz[:want], voicing[:want]
}

// candidates returns the local minima (dips) of the normalised difference function of one frame. The result is valid
// until the next call.
func (p *Pitch) candidates(x []float64) []candidate {
	p.dips = p.dips[:0]
	energy := 0.0
	for _, v := range x[:p.window] {
		energy += v * v
	}
	if energy < p.silence {
		return p.dips
	}
	p.difference(x, energy)
	p.normalise()
	for lag := max(p.minLag, 2); lag < p.maxLag; lag++ {
		v := p.diff[lag]
		if v >= maxAperiodic || v > p.diff[lag-1] || v >= p.diff[lag+1] {
			continue
		}
		shift, depth := parabola(p.diff[lag-1], v, p.diff[lag+1])
		hz := p.rate / (float64(lag) + shift)
		p.dips = insert(p.dips, candidate{hz: float32(hz), aperiodic: float32(max(depth, 0))})
	}
	return p.dips
}

// difference computes YIN's step 2, d(lag) = sum over the window of (x[j]-x[j+lag])², as energy(0) + energy(lag) - 2
// r(lag), where r is the correlation of the window with the whole frame. One forward transform, of the window as the
// real and the frame as the imaginary part, and one inverse transform yield r.
func (p *Pitch) difference(x []float64, energy float64) {
	z := p.work
	clear(z)
	for i, v := range x {
		if i < p.window {
			z[i] = complex(v, v)
		} else {
			z[i] = complex(0, v)
		}
	}
	p.fft.transform(z)
	n := len(z)
	for k := 0; k <= n/2; k++ {
		m := (n - k) & (n - 1)
		zk, zm := z[k], complex(real(z[m]), -imag(z[m]))
		a, b := (zk+zm)/2, (zk-zm)*(-0.5i)
		r := complex(real(a), -imag(a)) * b
		// The inverse transform is the forward transform of the conjugated product, since the result r is real.
		z[k], z[m] = complex(real(r), -imag(r)), r
	}
	p.fft.transform(z)
	moving := energy
	for lag := range p.diff {
		p.diff[lag] = max(0, energy+moving-2*real(z[lag])/float64(n))
		if lag+p.window < len(x) {
			moving += x[lag+p.window]*x[lag+p.window] - x[lag]*x[lag]
		}
	}
}

// normalise computes YIN's step 3: it divides each value by the mean of the values from lag 1 to its own lag.
func (p *Pitch) normalise() {
	sum := 0.0
	p.diff[0] = 1
	for lag := 1; lag < len(p.diff); lag++ {
		sum += p.diff[lag]
		if sum > 0 {
			p.diff[lag] *= float64(lag) / sum
		} else {
			p.diff[lag] = 1
		}
	}
}

// parabola computes YIN's step 5: the lowest point of the parabola through three consecutive values. shift is its
// offset from the middle value, in samples; value is its height.
func parabola(left, middle, right float64) (shift, value float64) {
	bend := left - 2*middle + right
	if bend <= 0 {
		return 0, middle
	}
	shift = (left - right) / (2 * bend)
	return shift, middle - (left-right)*shift/4
}

// insert inserts a candidate into a list that is ordered by cost. The list keeps the maxCandidates cheapest candidates.
func insert(list []candidate, c candidate) []candidate {
	at := len(list)
	for at > 0 && list[at-1].cost() > c.cost() {
		at--
	}
	if at >= maxCandidates {
		return list
	}
	if len(list) < maxCandidates {
		list = append(list, c)
	}
	copy(list[at+1:], list[at:])
	list[at] = c
	return list
}

package measure

import "math"

// Constants of ITU-R BS.1770-4, annex 1.
const (
	loudnessOffset = -0.691 // with this offset a 997 Hz sine at 0 dBFS in one front channel measures -3.01 LUFS
	absoluteGate   = -70.0  // LUFS
	relativeGate   = -10.0  // LU; relative to the mean loudness of the blocks above the absolute gate
	stepsPerBlock  = 4      // a block has 400 ms, a step 100 ms: blocks overlap by 75 %
	stepsPerSecond = 10
)

// biquad is a second-order filter section in transposed direct form II. Its coefficient a0 is 1.
type biquad struct{ b0, b1, b2, a1, a2 float64 }

// state is the state of a biquad for one channel.
type state struct{ z1, z2 float64 }

func (q *biquad) apply(s *state, x float64) float64 {
	y := q.b0*x + s.z1
	s.z1 = q.b1*x - q.a1*y + s.z2
	s.z2 = q.b2*x - q.a2*y
	return y
}

// kWeighting returns the two filter sections of BS.1770's K-weighting for any sampling rate in Hz. The standard states
// coefficients only for 48 kHz. The analogue prototypes and their bilinear transform are from B. De Man, "Evaluation of
// implementations of the EBU R128 loudness measurement", AES 145 (2018), and agree with the coefficients of the
// standard to the last digit at 48 kHz.
func kWeighting(rate float64) (shelf, highPass biquad) {
	const (
		shelfHz, shelfGain, shelfQ = 1681.974450955533, 3.999843853973347, 0.7071752369554196
		passHz, passQ              = 38.13547087602444, 0.5003270373238773
	)
	k := math.Tan(math.Pi * shelfHz / rate)
	vh := math.Pow(10, shelfGain/20)
	vb := math.Pow(vh, 0.4996667741545416)
	a0 := 1 + k/shelfQ + k*k
	shelf = biquad{
		b0: (vh + vb*k/shelfQ + k*k) / a0, b1: 2 * (k*k - vh) / a0, b2: (vh - vb*k/shelfQ + k*k) / a0,
		a1: 2 * (k*k - 1) / a0, a2: (1 - k/shelfQ + k*k) / a0,
	}
	k = math.Tan(math.Pi * passHz / rate)
	a0 = 1 + k/passQ + k*k
	highPass = biquad{b0: 1, b1: -2, b2: 1, a1: 2 * (k*k - 1) / a0, a2: (1 - k/passQ + k*k) / a0}
	return shelf, highPass
}

// Loudness measures the integrated (programme) loudness according to ITU-R BS.1770-4: K-weighting, 400 ms blocks that
// overlap by 75 %, an absolute gate at -70 LUFS, and a relative gate 10 LU below the mean of the blocks above the
// absolute gate. It keeps eight bytes for each 100 ms.
type Loudness struct {
	shelf, pass biquad
	states      [][2]state
	weights     []float64
	rate        int
	frame       int64 // number of frames read so far
	boundary    int64 // frame at which the current step ends
	begin       int64 // frame at which the current step began
	sum         float64
	steps       []float64 // mean square of each complete step, weighted and summed over the channels
}

// NewLoudness returns a meter for interleaved channels with the given weights (BS.1770-4 table 3: 1 for front
// channels, 1.41 for surround, 0 for LFE), at rate frames per second.
func NewLoudness(rate int, weights []float64) *Loudness {
	l := &Loudness{rate: rate, weights: weights, states: make([][2]state, len(weights))}
	l.shelf, l.pass = kWeighting(float64(rate))
	l.boundary = l.stepEnd(1)
	return l
}

// stepEnd returns the frame at which step number step ends. The frame is rounded, so that steps have 100 ms on average
// if the rate is not divisible by ten.
func (l *Loudness) stepEnd(step int) int64 {
	return (int64(step)*int64(l.rate) + stepsPerSecond/2) / stepsPerSecond
}

// Write reads interleaved samples, which must be whole frames.
func (l *Loudness) Write(samples []float32) {
	n := len(l.weights)
	for len(samples) > 0 {
		frames := min(int64(len(samples)/n), l.boundary-l.frame)
		part := samples[:frames*int64(n)]
		samples = samples[len(part):]
		for c, w := range l.weights {
			if w > 0 {
				l.sum += w * l.energy(part, c, n)
			}
		}
		l.frame += frames
		if l.frame == l.boundary {
			l.steps = append(l.steps, l.sum/float64(l.frame-l.begin))
			l.begin, l.sum, l.boundary = l.frame, 0, l.stepEnd(len(l.steps)+1)
		}
	}
}

// energy applies the K-weighting to one channel of interleaved samples, and returns the sum of the squares. stride is
// the number of channels.
func (l *Loudness) energy(samples []float32, channel, stride int) float64 {
	shelf, pass := l.shelf, l.pass
	s := l.states[channel]
	sum := 0.0
	for i := channel; i < len(samples); i += stride {
		y := pass.apply(&s[1], shelf.apply(&s[0], float64(samples[i])))
		sum += y * y
	}
	const tiny = 1e-30 // a smaller filter state would decay to denormal numbers, which are slow
	for i := range s {
		if math.Abs(s[i].z1) < tiny && math.Abs(s[i].z2) < tiny {
			s[i] = state{}
		}
	}
	l.states[channel] = s
	return sum
}

// Integrated returns the integrated loudness in LUFS. It returns false for a recording of less than 400 ms, or if no
// block exceeds the absolute gate.
func (l *Loudness) Integrated() (float64, bool) {
	blocks := l.blocks()
	ungated, ok := gatedMean(blocks, absoluteGate)
	if !ok {
		return 0, false
	}
	gate := max(absoluteGate, lufs(ungated)+relativeGate)
	mean, ok := gatedMean(blocks, gate)
	return lufs(mean), ok
}

// blocks returns the mean square of each 400 ms block: the plain average of four consecutive steps, since the lengths
// of steps differ by at most one frame.
func (l *Loudness) blocks() []float64 {
	var blocks []float64
	for i := 0; i+stepsPerBlock <= len(l.steps); i++ {
		sum := 0.0
		for _, s := range l.steps[i : i+stepsPerBlock] {
			sum += s
		}
		blocks = append(blocks, sum/stepsPerBlock)
	}
	return blocks
}

// gatedMean returns the mean of the blocks whose loudness is greater than gate, in LUFS. It returns false if there is
// no such block.
func gatedMean(blocks []float64, gate float64) (float64, bool) {
	sum, n := 0.0, 0
	for _, b := range blocks {
		if b > 0 && lufs(b) > gate {
			sum += b
			n++
		}
	}
	return sum / float64(max(n, 1)), n > 0
}

func lufs(meanSquare float64) float64 { return loudnessOffset + 10*math.Log10(meanSquare) }

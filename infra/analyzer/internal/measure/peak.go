package measure

// truePeakTaps is the interpolation filter of ITU-R BS.1770-4, annex 2: order 48, four phases of twelve taps. Phases
// 2 and 3 are phases 1 and 0 reversed.
var truePeakTaps = [2][12]float32{
	{
		0.0017089843750, 0.0109863281250, -0.0196533203125, 0.0332031250000, -0.0594482421875, 0.1373291015625,
		0.9721679687500, -0.1022949218750, 0.0476074218750, -0.0266113281250, 0.0148925781250, -0.0083007812500,
	},
	{
		-0.0291748046875, 0.0292968750000, -0.0517578125000, 0.0891113281250, -0.1665039062500, 0.4650878906250,
		0.7797851562500, -0.2003173828125, 0.1015625000000, -0.0582275390625, 0.0330810546875, -0.0189208984375,
	},
}

// truePeakGain is the largest factor by which an interpolated value can exceed the highest sample: the largest sum of
// the absolute taps of a phase, which is 2.03, and a margin.
const truePeakGain = 2.05

// peakChunk is the number of frames that are processed together. Interpolation is skipped for a chunk that cannot
// contain a new true peak.
const peakChunk = 64

// Peak measures the highest sample and, by four times oversampling according to ITU-R BS.1770-4 annex 2, the true peak.
// To save time it does not oversample chunks that cannot exceed the true peak so far, which does not change the result.
type Peak struct {
	channels int
	sample   float32
	truePeak float32
	history  [][]float32 // for each channel, the last eleven samples of the chunk before and then the current chunk
}

// NewPeak returns a meter for interleaved channels.
func NewPeak(channels int) *Peak {
	p := &Peak{channels: channels, history: make([][]float32, channels)}
	for c := range p.history {
		p.history[c] = make([]float32, 11, 11+peakChunk)
	}
	return p
}

// Write reads interleaved samples, which must be whole frames.
func (p *Peak) Write(samples []float32) {
	for len(samples) > 0 {
		n := min(len(samples), peakChunk*p.channels)
		for c := range p.channels {
			p.channel(c, samples[:n])
		}
		samples = samples[n:]
	}
}

func (p *Peak) channel(c int, samples []float32) {
	x := p.history[c][:11]
	for i := c; i < len(samples); i += p.channels {
		x = append(x, samples[i])
	}
	var high float32
	for i, v := range x {
		if v < 0 {
			v = -v
		}
		if v > high {
			high = v
		}
		if i >= 11 && v > p.sample {
			p.sample = v
		}
	}
	if high*truePeakGain > p.truePeak {
		p.interpolate(x)
	}
	copy(x[:11], x[len(x)-11:])
	p.history[c] = x
}

func (p *Peak) interpolate(x []float32) {
	for ; len(x) >= 12; x = x[1:] {
		var a, b, c, d float32
		w := x[:12]
		for k := range 12 {
			newest, oldest := w[11-k], w[k]
			a += truePeakTaps[0][k] * newest
			b += truePeakTaps[1][k] * newest
			c += truePeakTaps[1][k] * oldest
			d += truePeakTaps[0][k] * oldest
		}
		p.truePeak = max(p.truePeak, a, -a, b, -b, c, -c, d, -d)
	}
}

// Sample returns the highest absolute sample, in dBFS. It returns false for digital silence.
func (p *Peak) Sample() (float64, bool) { return Decibels(float64(p.sample)) }

// TruePeak returns the true peak in dBTP: the highest absolute value of the oversampled signal or of a sample, since
// the filter's output does not contain the samples themselves. It returns false for digital silence.
func (p *Peak) TruePeak() (float64, bool) { return Decibels(float64(max(p.truePeak, p.sample))) }

package measure

// WaveformPoints is the number of stretches that Points returns, unless the recording has fewer samples.
const WaveformPoints = 512

// maxBins is the largest number of bins of a Waveform. When more would be needed, neighbouring bins are merged, and all
// bins become twice as long.
const maxBins = 8 * WaveformPoints

// Waveform collects the lowest and the highest sample of stretches of equal length (bins). It need not know the length
// of the recording.
type Waveform struct {
	binFrames int // number of frames in a full bin
	filled    int // number of frames in the last bin; 0 if the last bin is full
	low, high []float32
}

// NewWaveform returns a meter for the mono mix.
func NewWaveform() *Waveform { return &Waveform{binFrames: 1} }

// Write reads mono samples.
func (w *Waveform) Write(mono []float32) {
	for _, v := range mono {
		if w.filled == 0 {
			if len(w.low) == maxBins {
				w.merge()
			}
			w.low, w.high = append(w.low, v), append(w.high, v)
		} else {
			last := len(w.low) - 1
			w.low[last], w.high[last] = min(w.low[last], v), max(w.high[last], v)
		}
		if w.filled++; w.filled == w.binFrames {
			w.filled = 0
		}
	}
}

func (w *Waveform) merge() {
	for i := range maxBins / 2 {
		w.low[i], w.high[i] = min(w.low[2*i], w.low[2*i+1]), max(w.high[2*i], w.high[2*i+1])
	}
	w.low, w.high = w.low[:maxBins/2], w.high[:maxBins/2]
	w.binFrames *= 2
}

// Points divides the recording into WaveformPoints stretches, and returns the lowest and the highest sample of each. If
// the recording has fewer samples, each sample is a stretch.
func (w *Waveform) Points() (low, high []float32) {
	n := min(len(w.low), WaveformPoints)
	low, high = make([]float32, n), make([]float32, n)
	for i := range n {
		from, to := i*len(w.low)/n, (i+1)*len(w.low)/n
		low[i], high[i] = w.low[from], w.high[from]
		for j := from + 1; j < to; j++ {
			low[i], high[i] = min(low[i], w.low[j]), max(high[i], w.high[j])
		}
	}
	return low, high
}

package measure_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"sori.internal/infra/analyzer/internal/measure"
)

// sine returns a sine of frequency hz with the given peak amplitude and length in seconds.
func sine(rate int, hz, peak, seconds float64) []float32 {
	out := make([]float32, int(math.Round(seconds*float64(rate))))
	for i := range out {
		out[i] = float32(peak * math.Sin(2*math.Pi*hz*float64(i)/float64(rate)))
	}
	return out
}

func noise(n int, peak float64) []float32 {
	rng := rand.New(rand.NewPCG(1, 2))
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(peak * (2*rng.Float64() - 1))
	}
	return out
}

// interleave returns interleaved samples in which every channel has the mono signal.
func interleave(mono []float32, channels int) []float32 {
	out := make([]float32, 0, len(mono)*channels)
	for _, v := range mono {
		for range channels {
			out = append(out, v)
		}
	}
	return out
}

// feed writes the samples in blocks of 997 frames. unit is the number of channels.
func feed(write func([]float32), samples []float32, unit int) {
	for len(samples) > 0 {
		n := min(len(samples), 997*unit)
		write(samples[:n])
		samples = samples[n:]
	}
}

func dB(v float64) float64 { return math.Pow(10, v/20) }

// stretch is a part of a test signal with a level in dBFS and a length in seconds.
type stretch struct{ level, seconds float64 }

// The signals of EBU Tech 3341 (2016), table 1, are stereo sines of 1000 Hz at 48 kHz. Their measured loudness must be
// the one in the table, ±0.1 LU.
func TestLoudnessMeetsEBUTech3341(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		list []stretch
		want float64
	}{
		{"1", []stretch{{-23, 20}}, -23},
		{"2", []stretch{{-33, 20}}, -33},
		{"3, relative gate", []stretch{{-36, 10}, {-23, 60}, {-36, 10}}, -23},
		{"4, both gates", []stretch{{-72, 10}, {-36, 10}, {-23, 60}, {-36, 10}, {-72, 10}}, -23},
		{"5", []stretch{{-26, 20}, {-20, 20.1}, {-26, 20}}, -23},
	} {
		rates := []int{48000}
		if c.name == "1" {
			rates = []int{48000, 44100, 22050, 16000}
		}
		for _, rate := range rates {
			l := measure.NewLoudness(rate, []float64{1, 1})
			for _, s := range c.list {
				feed(l.Write, interleave(sine(rate, 1000, dB(s.level), s.seconds), 2), 2)
			}
			if got, ok := l.Integrated(); !ok || math.Abs(got-c.want) > 0.1 {
				t.Errorf("signal %s at %d Hz: %.2f LUFS, want %.1f", c.name, rate, got, c.want)
			}
		}
	}
}

// EBU Tech 3341, signal 6: sines in five channels, of which the surround channels have a greater weight, must measure
// -23 LUFS.
func TestLoudnessWeighsSurround(t *testing.T) {
	t.Parallel()
	levels := []float64{-28, -28, -24, -150, -30, -30}
	tone := sine(48000, 1000, 1, 20)
	var samples []float32
	for _, v := range tone {
		for _, level := range levels {
			samples = append(samples, v*float32(dB(level)))
		}
	}
	l := measure.NewLoudness(48000, []float64{1, 1, 1, 0, 1.41, 1.41})
	feed(l.Write, samples, 6)
	if got, ok := l.Integrated(); !ok || math.Abs(got+23) > 0.1 {
		t.Errorf("%.2f LUFS, want -23", got)
	}
}

// BS.1770-4, annex 1: a 997 Hz sine at full scale in one front channel must measure -3.01 LKFS.
func TestLoudnessOfTheReferenceSine(t *testing.T) {
	t.Parallel()
	for _, rate := range []int{8000, 11025, 22050, 48000, 96000} {
		l := measure.NewLoudness(rate, []float64{1})
		feed(l.Write, sine(rate, 997, 1, 5), 1)
		if got, ok := l.Integrated(); !ok || math.Abs(got+3.01) > 0.15 {
			t.Errorf("%d Hz: %.2f LUFS, want -3.01", rate, got)
		}
	}
}

func TestSilenceAndShortnessHaveNoLoudness(t *testing.T) {
	t.Parallel()
	for name, samples := range map[string][]float32{
		"nothing": nil, "silence": make([]float32, 48000), "short": sine(48000, 1000, 0.5, 0.39), "below the gate": sine(48000, 1000, dB(-75), 2),
	} {
		l := measure.NewLoudness(48000, []float64{1})
		l.Write(samples)
		if got, ok := l.Integrated(); ok {
			t.Errorf("%s: %v LUFS, want none", name, got)
		}
	}
}

// EBU Tech 3341, signals 15 to 19: sines whose true peak lies between the samples. The measured true peak must be
// within +0.2 and -0.4 dB of the real one.
func TestTruePeakMeetsEBUTech3341(t *testing.T) {
	t.Parallel()
	const rate = 48000
	for _, c := range []struct{ divisor, phase, level, want float64 }{
		{4, 0, -6, -6}, {4, 45, -6, -6}, {6, 60, -6, -6}, {8, 67.5, -6, -6}, {4, 45, 3, 3},
	} {
		p := measure.NewPeak(1)
		samples := make([]float32, rate)
		for i := range samples {
			fade := min(1, float64(i)/2000, float64(rate-i)/2000)
			samples[i] = float32(fade * dB(c.level) * math.Sin(2*math.Pi*float64(i)/c.divisor+c.phase*math.Pi/180))
		}
		feed(p.Write, samples, 1)
		if got, ok := p.TruePeak(); !ok || got > c.want+0.2 || got < c.want-0.4 {
			t.Errorf("fs/%v at %v degrees: %.2f dBTP, want %.1f", c.divisor, c.phase, got, c.want)
		}
	}
}

func TestSamplePeakIsTheHighestSampleOfAnyChannel(t *testing.T) {
	t.Parallel()
	p := measure.NewPeak(2)
	p.Write([]float32{0, 0, 0.25, -0.5, 0, 0})
	if got, ok := p.Sample(); !ok || math.Abs(got+6.02) > 0.01 {
		t.Errorf("%.2f dBFS, want -6.02", got)
	}
	if _, ok := measure.NewPeak(1).TruePeak(); ok {
		t.Error("silence has a peak")
	}
}

func TestPitchOfATone(t *testing.T) {
	t.Parallel()
	for _, rate := range []int{8000, 11025, 16000, 22050, 44100, 48000, 96000} {
		for _, hz := range []float64{70, 110, 220, 440, 550} {
			p := measure.NewPitch(rate)
			feed(p.Write, sine(rate, hz, 0.3, 1), 1)
			track, _ := p.Track()
			got, ok := measure.MedianPitch(track)
			if !ok || math.Abs(got-hz) > max(1, hz*0.004) {
				t.Errorf("%v Hz at %d Hz: median %.2f", hz, rate, got)
			}
			if len(track) != 100 {
				t.Errorf("%d values for a second", len(track))
			}
		}
	}
}

// The signal has the harmonics 2 to 19 of 130 Hz but not the fundamental itself. The measured pitch must be the
// fundamental nevertheless.
func TestPitchOfARichToneIsItsFundamental(t *testing.T) {
	t.Parallel()
	const rate, hz = 16000, 130.0
	samples := make([]float32, rate)
	for i := range samples {
		for h := 2; h < 20; h++ {
			samples[i] += float32(0.05 * math.Cos(2*math.Pi*hz*float64(h*i)/rate))
		}
	}
	p := measure.NewPitch(rate)
	feed(p.Write, samples, 1)
	track, _ := p.Track()
	if got, ok := measure.MedianPitch(track); !ok || math.Abs(got-hz) > 1 {
		t.Errorf("median %.2f, want %v", got, hz)
	}
}

func TestNoiseAndSilenceHaveNoPitch(t *testing.T) {
	t.Parallel()
	for name, samples := range map[string][]float32{"silence": make([]float32, 16000), "noise": noise(16000, 0.3), "offset": constant(16000)} {
		p := measure.NewPitch(16000)
		feed(p.Write, samples, 1)
		track, _ := p.Track()
		if n := len(measure.Voiced(track)); n > 3 {
			t.Errorf("%s: %d voiced frames", name, n)
		}
	}
}

func constant(n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = 0.5
	}
	return out
}

func TestPitchFollowsAGlideAndAPause(t *testing.T) {
	t.Parallel()
	const rate = 16000
	var samples []float32
	phase := 0.0
	for i := range 2 * rate {
		at := float64(i) / rate
		phase += 2 * math.Pi * (120 + 60*at) / rate
		v := 0.3 * math.Sin(phase)
		if at > 0.9 && at < 1.1 {
			v = 0
		}
		samples = append(samples, float32(v))
	}
	p := measure.NewPitch(rate)
	feed(p.Write, samples, 1)
	track, _ := p.Track()
	for i, got := range track[5:195] {
		at := float64(i+5) * measure.PitchHopSeconds
		switch want := 120 + 60*at; {
		case at > 0.94 && at < 1.06:
			if got != 0 {
				t.Errorf("%.2f s: %.1f Hz in the pause", at, got)
			}
		case at < 0.86 || at > 1.14:
			if math.Abs(float64(got)-want) > 4 {
				t.Errorf("%.2f s: %.1f Hz, want %.1f", at, got, want)
			}
		}
	}
	if n := measure.VoicedSegments(track); n != 2 {
		t.Errorf("%d voiced segments, want 2", n)
	}
}

func TestSegmentsFindTheSpeech(t *testing.T) {
	t.Parallel()
	const rate = 16000
	quiet := noise(rate, 0.001)
	var samples []float32
	samples = append(samples, quiet...)
	samples = append(samples, sine(rate, 200, 0.3, 1)...)
	samples = append(samples, quiet...)
	e := measure.NewEnergy(rate)
	feed(e.Write, samples, 1)
	got := e.Segments()
	if len(got) != 3 || got[0].Speech || !got[1].Speech || got[2].Speech {
		t.Fatalf("segments %+v", got)
	}
	if math.Abs(got[1].Start-1) > 0.03 || math.Abs(got[1].End-2.2) > 0.03 || got[2].End != 3 {
		t.Errorf("segments %+v: want speech from 1 to 2 s and its hangover", got)
	}
}

func TestSegmentsOfOneThingAreOne(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		samples []float32
		speech  bool
	}{
		"silence": {make([]float32, 16000), false}, "tone": {sine(16000, 300, 0.2, 1), true}, "faint noise": {noise(16000, 0.0005), false},
	} {
		e := measure.NewEnergy(16000)
		feed(e.Write, c.samples, 1)
		if got := e.Segments(); len(got) != 1 || got[0].Speech != c.speech || got[0].End != 1 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := measure.NewEnergy(8000).Segments(); len(got) != 0 {
		t.Errorf("nothing: %+v", got)
	}
}

func TestWaveformKeepsExtremesWhateverTheLength(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 100, 511, 513, 5000, 1 << 20} {
		w := measure.NewWaveform()
		samples := noise(n, 0.5)
		samples[n/2] = 0.9
		feed(w.Write, samples, 1)
		low, high := w.Points()
		if len(low) != min(n, measure.WaveformPoints) || len(high) != len(low) {
			t.Fatalf("%d samples: %d points", n, len(low))
		}
		top := float32(-1)
		for i := range high {
			top = max(top, high[i])
			if low[i] > high[i] {
				t.Fatalf("%d samples: point %d upside down", n, i)
			}
		}
		if top != 0.9 {
			t.Errorf("%d samples: highest %v", n, top)
		}
	}
}

// contour returns a pitch contour of n values that falls from base Hz, with a few accents.
func contour(n int, base float64) []float64 {
	out := make([]float64, n)
	for i := range out {
		at := float64(i) / float64(n)
		out[i] = base * math.Pow(2, (4*math.Sin(9*at)-5*at+2*math.Sin(25*at))/12)
	}
	return out
}

func TestPitchSimilarity(t *testing.T) {
	t.Parallel()
	melody := contour(300, 200)
	rng := rand.New(rand.NewPCG(3, 4))
	other := make([]float64, 300)
	for i := range other {
		other[i] = 150 * math.Pow(2, rng.NormFloat64()*6/12)
	}
	score := func(a, b []float64) float64 {
		got, ok := measure.PitchSimilarity(a, b)
		if !ok || got < 0 || got > 100 || math.IsNaN(got) {
			t.Errorf("score %v, %v", got, ok)
		}
		return got
	}
	if got := score(melody, melody); got != 100 {
		t.Errorf("identical: %v", got)
	}
	if got := score(melody, contour(300, 320)); math.Abs(got-100) > 0.01 {
		t.Errorf("another voice: %v", got)
	}
	if got := score(melody, contour(420, 200)); got < 95 {
		t.Errorf("slower: %v", got)
	}
	if got := score(melody, other); got > 50 {
		t.Errorf("unrelated: %v", got)
	}
	rising := contour(300, 200)
	for i := range rising {
		rising[i] = 200 * 200 / rising[i]
	}
	if got := score(melody, rising); got > 60 {
		t.Errorf("upside down: %v", got)
	}
	if _, ok := measure.PitchSimilarity(melody, melody[:4]); ok {
		t.Error("four values were compared")
	}
	score(contour(9000, 100), contour(7, 100)) // contours of very different lengths must be comparable, too
}

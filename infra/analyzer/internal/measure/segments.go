package measure

import (
	"math"
	"slices"
)

// Durations for the segmentation, in frames of 10 ms.
const (
	framesPerSecond = 100
	hangoverFrames  = 20 // speech is extended by this duration after the level has fallen, to include weak endings of words
	minSpeechFrames = 6  // shorter speech is a click and becomes silence
	minPauseFrames  = 15 // a shorter pause is the closure of a stop within a word and becomes speech
)

// Levels for the segmentation, in dBFS, and differences, in dB.
const (
	silenceFloor  = -60.0 // a quieter frame is not speech, however quiet the recording is
	steadyLevel   = -45.0 // a recording without contrast is all speech above this level, all silence below
	minContrast   = 9.0   // smallest contrast: the difference between the noise level and the speech level
	upperFraction = 0.35  // threshold for the start of speech, as a fraction of the way from the noise level to the speech level
	lowerFraction = 0.20  // threshold for the end of speech, as a fraction of the same way
)

// Segment is a stretch of a recording, in seconds from its beginning.
type Segment struct {
	Start, End float64
	Speech     bool // false for silence and background noise
}

// Energy divides a recording into speech and silence by its short-time energy. It estimates a noise level and a speech
// level from the whole recording. Two thresholds between the levels provide hysteresis (L. R. Rabiner and M. R. Sambur,
// "An algorithm for determining the endpoints of isolated utterances", Bell System Technical Journal 54, 1975). A
// hangover keeps the weak ends of utterances (ETSI EN 301 708, section 3.3). Since Energy uses only the energy, music and
// steady tones count as speech.
type Energy struct {
	rate   int
	frame  int64 // number of samples read so far
	bound  int64 // sample at which the current frame of 10 ms ends
	sum    float64
	count  int
	mean   float64 // slow average of the samples, which is subtracted to remove a constant offset
	levels []float32
}

// NewEnergy returns a meter for the mono mix at rate samples per second.
func NewEnergy(rate int) *Energy {
	e := &Energy{rate: rate}
	e.bound = e.end(1)
	return e
}

func (e *Energy) end(frame int) int64 {
	return (int64(frame)*int64(e.rate) + framesPerSecond/2) / framesPerSecond
}

// Write reads mono samples.
func (e *Energy) Write(mono []float32) {
	follow := 2 * math.Pi * 20 / float64(e.rate) // coefficient of a one-pole high-pass at 20 Hz
	for _, v := range mono {
		e.mean += follow * (float64(v) - e.mean)
		d := float64(v) - e.mean
		e.sum += d * d
		e.count++
		if e.frame++; e.frame == e.bound {
			e.flush()
			e.bound = e.end(len(e.levels) + 1)
		}
	}
}

func (e *Energy) flush() {
	level := 10 * math.Log10(e.sum/float64(e.count)+1e-12)
	e.levels = append(e.levels, float32(level))
	e.sum, e.count = 0, 0
}

// Segments returns alternating stretches of speech and silence without gaps, from 0 to the end of the recording.
func (e *Energy) Segments() []Segment {
	if e.count > 0 {
		e.flush()
	}
	if len(e.levels) == 0 {
		return nil
	}
	speech := e.mark()
	bridge(speech, true, minSpeechFrames)
	hangover(speech)
	bridge(speech, false, minPauseFrames)
	duration := float64(e.frame) / float64(e.rate)
	var out []Segment
	for i := 0; i < len(speech); {
		j := run(speech, i)
		end := float64(j) / framesPerSecond
		if j == len(speech) {
			end = duration
		}
		out = append(out, Segment{Start: float64(i) / framesPerSecond, End: end, Speech: speech[i]})
		i = j
	}
	return out
}

// mark returns for each frame whether it is speech. Speech starts when the level reaches the upper threshold, and ends
// when the level falls below the lower threshold.
func (e *Energy) mark() []bool {
	speech := make([]bool, len(e.levels))
	upper, lower, ok := e.thresholds()
	if !ok {
		return speech
	}
	in := false
	for i, level := range e.levels {
		if in {
			in = float64(level) >= lower
		} else {
			in = float64(level) >= upper
		}
		speech[i] = in
	}
	for i := len(speech) - 2; i >= 0; i-- { // extend speech back to where the level rose above the lower threshold
		if speech[i+1] && float64(e.levels[i]) >= lower {
			speech[i] = true
		}
	}
	return speech
}

// thresholds returns the levels at which speech starts and ends. It takes the 10th percentile of all levels as the
// noise level, and the 95th as the speech level. ok is false if the recording has no speech.
func (e *Energy) thresholds() (upper, lower float64, ok bool) {
	sorted := slices.Clone(e.levels)
	slices.Sort(sorted)
	noise := math.Max(float64(sorted[len(sorted)/10]), -90)
	loud := float64(sorted[(len(sorted)-1)*95/100])
	if loud-noise < minContrast {
		// Without contrast the whole recording is either speech or silence, depending on its level.
		if loud < steadyLevel {
			return 0, 0, false
		}
		return math.Max(noise-minContrast, silenceFloor), math.Max(noise-minContrast, silenceFloor), true
	}
	upper = math.Max(noise+upperFraction*(loud-noise), silenceFloor)
	lower = math.Max(noise+lowerFraction*(loud-noise), silenceFloor)
	return upper, lower, loud >= silenceFloor
}

// run returns the end of the sequence of equal marks that begins at i.
func run(marks []bool, i int) int {
	j := i + 1
	for j < len(marks) && marks[j] == marks[i] {
		j++
	}
	return j
}

// bridge inverts runs of marks that are equal to kind (true is speech) and shorter than limit. It keeps short pauses at
// the start and the end of the recording.
func bridge(marks []bool, kind bool, limit int) {
	for i := 0; i < len(marks); {
		j := run(marks, i)
		inner := i > 0 && j < len(marks)
		if marks[i] == kind && j-i < limit && (kind || inner) {
			for k := i; k < j; k++ {
				marks[k] = !kind
			}
		}
		i = j
	}
}

// hangover extends every run of speech by up to hangoverFrames.
func hangover(marks []bool) {
	left := 0
	for i, speech := range marks {
		switch {
		case speech:
			left = hangoverFrames
		case left > 0:
			left--
			marks[i] = true
		}
	}
}

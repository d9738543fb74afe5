package measure

import (
	"math"
	"slices"
)

// Times of the segmentation, in frames of 10 ms.
const (
	framesPerSecond = 100
	hangoverFrames  = 20 // speech continues this long after the energy fell: weak endings of words
	minSpeechFrames = 6  // shorter bursts are clicks
	minPauseFrames  = 15 // shorter pauses are closures of stops within a word
)

// Levels of the segmentation, in dBFS and dB.
const (
	silenceFloor  = -60.0 // a quieter frame is not speech, however quiet the recording is
	steadyLevel   = -45.0 // a recording without contrast is speech if it is louder, otherwise silence
	minContrast   = 9.0   // smallest difference between quiet and loud parts of a recording with contrast
	upperFraction = 0.35  // threshold for the start of speech, as a fraction of the distance from the noise to the loud parts
	lowerFraction = 0.20  // threshold for the end of speech
)

// Segment is a stretch of a recording, in seconds from its beginning.
type Segment struct {
	Start, End float64
	Speech     bool // otherwise silence or background
}

// Energy divides a recording into speech and silence by its short-time energy. It estimates a noise level and a speech
// level from the whole recording. Two thresholds between the levels provide hysteresis (L. R. Rabiner and M. R. Sambur,
// "An algorithm for determining the endpoints of isolated utterances", Bell System Technical Journal 54, 1975). A
// hangover keeps the weak ends of utterances (ETSI EN 301 708, section 3.3). Since Energy uses only the energy, music and
// steady tones count as speech.
type Energy struct {
	rate   int
	frame  int64 // number of samples read
	bound  int64 // sample at which the current frame of 10 ms ends
	sum    float64
	count  int
	mean   float64 // slow average that is subtracted to remove a constant offset
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
	follow := 2 * math.Pi * 20 / float64(e.rate) // one-pole high-pass at 20 Hz
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

// mark returns for each frame whether it is speech, by the two thresholds.
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
	for i := len(speech) - 2; i >= 0; i-- { // speech begins where the level has exceeded the lower threshold
		if speech[i+1] && float64(e.levels[i]) >= lower {
			speech[i] = true
		}
	}
	return speech
}

// thresholds uses the 10th percentile of the levels as noise and the 95th as speech. ok is false if the recording has
// no speech.
func (e *Energy) thresholds() (upper, lower float64, ok bool) {
	sorted := slices.Clone(e.levels)
	slices.Sort(sorted)
	noise := math.Max(float64(sorted[len(sorted)/10]), -90)
	loud := float64(sorted[(len(sorted)-1)*95/100])
	if loud-noise < minContrast {
		// Without contrast the whole recording is speech or silence, depending on its level.
		if loud < steadyLevel {
			return 0, 0, false
		}
		return math.Max(noise-minContrast, silenceFloor), math.Max(noise-minContrast, silenceFloor), true
	}
	upper = math.Max(noise+upperFraction*(loud-noise), silenceFloor)
	lower = math.Max(noise+lowerFraction*(loud-noise), silenceFloor)
	return upper, lower, loud >= silenceFloor
}

// run returns the end of the run of equal marks that begins at i.
func run(marks []bool, i int) int {
	j := i + 1
	for j < len(marks) && marks[j] == marks[i] {
		j++
	}
	return j
}

// bridge inverts runs of the given kind that are shorter than limit. Short pauses at the start or the end are not
// inverted.
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

// hangover extends every run of speech.
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

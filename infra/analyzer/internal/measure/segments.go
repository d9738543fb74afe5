package measure

import (
	"math"
	"slices"
)

// Times of the segmentation, in frames of 10 ms.
const (
	framesPerSecond = 100
	hangoverFrames  = 20 // speech goes on this long after the energy fell: weak endings of words
	minSpeechFrames = 6  // shorter bursts are clicks
	minPauseFrames  = 15 // shorter pauses are closures of stops within a word
)

// Levels of the segmentation, in dBFS and dB.
const (
	silenceFloor  = -60.0 // nothing below is speech, however quiet the recording
	steadyLevel   = -45.0 // a recording without contrast is speech above this and silence below
	minContrast   = 9.0   // distance of quiet and loud parts below which there is nothing to tell apart
	upperFraction = 0.35  // of the way from the noise to the loud parts, where speech is entered
	lowerFraction = 0.20  // and where it is left
)

// Segment is a stretch of a recording, in seconds from its beginning.
type Segment struct {
	Start, End float64
	Speech     bool // else silence or background
}

// Energy cuts a recording into speech and silence by its short-time energy: a noise and a speech level are estimated from the whole
// recording, two thresholds between them give hysteresis (L. R. Rabiner and M. R. Sambur, "An algorithm for determining the endpoints of
// isolated utterances", Bell System Technical Journal 54, 1975), and a hangover keeps weak endings (ETSI EN 301 708, section 3.3). It knows
// energy alone: music and steady tones count as speech.
type Energy struct {
	rate   int
	frame  int64 // samples taken
	bound  int64 // where the running frame of 10 ms ends
	sum    float64
	count  int
	mean   float64 // slow average that takes a constant offset away
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

// Write takes mono samples.
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

// Segments returns the recording cut into alternating stretches without gaps, from 0 to its end.
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

// mark applies the two thresholds.
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
	for i := len(speech) - 2; i >= 0; i-- { // the onset too counts from the lower threshold on
		if speech[i+1] && float64(e.levels[i]) >= lower {
			speech[i] = true
		}
	}
	return speech
}

// thresholds takes the 10th percentile of the levels as noise and the 95th as speech.
func (e *Energy) thresholds() (upper, lower float64, ok bool) {
	sorted := slices.Clone(e.levels)
	slices.Sort(sorted)
	noise := math.Max(float64(sorted[len(sorted)/10]), -90)
	loud := float64(sorted[(len(sorted)-1)*95/100])
	if loud-noise < minContrast {
		// Without contrast the recording is one thing, and its level says which.
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

// bridge turns runs of kind that are shorter than limit over. Pauses are bridged only between speech, not at the ends.
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

// hangover prolongs every run of speech.
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

package measure

import "math"

// Costs of a path, per frame of 10 ms. jumpCost and switchCost are the defaults of P. Boersma, "Accurate short-term
// analysis of the fundamental frequency and the harmonics-to-noise ratio of a sampled sound", IFA Proceedings 17
// (1993), section 4. octaveCost and unvoicedCost are his other costs on the scale of YIN, where 0 is periodic and 1 is
// noise.
const (
	octaveCost   = 0.05 // cost for each octave below the highest pitch: of equal dips the shortest period is the true one
	jumpCost     = 0.35 // cost for each octave between neighbouring frames
	switchCost   = 0.14 // cost of a change between voiced and unvoiced
	unvoicedCost = 0.40 // cost of an unvoiced frame; a deep dip costs less
	minVoicedRun = 3    // frames; a shorter run counts as noise
)

// candidate is one possible period of a frame.
type candidate struct {
	hz        float32
	aperiodic float32 // value of the normalised difference function at the dip; 0 is perfectly periodic
}

func (c candidate) cost() float64 {
	return float64(c.aperiodic) + octaveCost*math.Log2(MaxPitchHz/float64(c.hz))
}

// step contains the candidates of one frame, and for each state of the frame the best state of the previous frame.
// State i is candidate i; the last state, maxCandidates, is "unvoiced".
type step struct {
	list [maxCandidates]candidate
	n    uint8
	from [maxCandidates + 1]uint8
}

// tracker finds the cheapest path through the candidates of all frames (G. D. Forney, "The Viterbi algorithm",
// Proceedings of the IEEE 61, 1973). It needs about sixty bytes for each frame.
type tracker struct {
	steps []step
	costs [maxCandidates + 1]float64 // costs of the best path to each state of the last step; the last state is "unvoiced"
	logs  [maxCandidates]float64     // log2 of the pitch of each candidate of the last step
}

// add adds the candidates of the next frame. hop is the time since the previous frame, in seconds.
func (t *tracker) add(list []candidate, hop float64) {
	scale := PitchHopSeconds / hop
	var s step
	s.n = uint8(copy(s.list[:], list)) // at most maxCandidates
	var costs [maxCandidates + 1]float64
	var logs [maxCandidates]float64
	last := 0
	if len(t.steps) > 0 {
		last = int(t.steps[len(t.steps)-1].n)
	}
	for i := range int(s.n) {
		logs[i] = math.Log2(float64(s.list[i].hz))
		best, from := t.costs[maxCandidates]+switchCost*scale, maxCandidates
		for j := range last {
			if c := t.costs[j] + jumpCost*scale*math.Abs(logs[i]-t.logs[j]); c < best {
				best, from = c, j
			}
		}
		costs[i], s.from[i] = best+s.list[i].cost(), uint8(from) // at most maxCandidates
	}
	best, from := t.costs[maxCandidates], maxCandidates
	for j := range last {
		if c := t.costs[j] + switchCost*scale; c < best {
			best, from = c, j
		}
	}
	costs[maxCandidates], s.from[maxCandidates] = best+unvoicedCost, uint8(from) // at most maxCandidates
	t.costs, t.logs = costs, logs
	t.steps = append(t.steps, s)
}

// path returns the pitch of each frame on the cheapest path, in Hz (0 is unvoiced), and the periodicity of each frame,
// from 0 to 1.
func (t *tracker) path() (hz, voicing []float32) {
	hz, voicing = make([]float32, len(t.steps)), make([]float32, len(t.steps))
	if len(t.steps) == 0 {
		return hz, voicing
	}
	state := maxCandidates
	for j := range int(t.steps[len(t.steps)-1].n) {
		if t.costs[j] < t.costs[state] {
			state = j
		}
	}
	for i := len(t.steps) - 1; i >= 0; i-- {
		s := &t.steps[i]
		if state < maxCandidates {
			hz[i], voicing[i] = s.list[state].hz, 1-s.list[state].aperiodic
		} else if s.n > 0 {
			voicing[i] = 1 - s.list[0].aperiodic
		}
		state = int(s.from[state])
	}
	dropShort(hz)
	return hz, voicing
}

// dropShort sets voiced runs that are too short to be speech to 0.
func dropShort(hz []float32) {
	for i := 0; i < len(hz); {
		j := i
		for j < len(hz) && hz[j] > 0 {
			j++
		}
		if j-i < minVoicedRun {
			clear(hz[i:j])
		}
		i = j + 1
	}
}

package job

import (
	"encoding/json"
	"math"
	"strings"
)

// Result is what an analysis found, as JSON text; empty if there is none.
type Result string

// MarshalJSON implements json.Marshaler.
func (r Result) MarshalJSON() ([]byte, error) {
	if r == "" {
		return []byte("null"), nil
	}
	return []byte(r), nil
}

// The durations that are believed, in seconds.
const (
	maxDuration      = 7 * 24 * 3600 // of a recording
	durationDistance = 0.5           // between what the container tells and what the analysis measures
)

// durationOf chooses the duration of a recording from the value of its container and the value of
// its analysis; 0 if both are unknown. The value of the analysis is exact, since the analysis decodes
// the recording. It is used only if the container's value is unknown or close to it: some analysis
// servers mean something else by "duration".
func durationOf(container, analysis float64) float64 {
	if analysis > 0 && (container == 0 || math.Abs(analysis-container) <= durationDistance) {
		return analysis
	}
	return container
}

// duration is the member "duration" of a result, in seconds; 0 if it is absent or cannot be the
// duration of a recording.
func (r Result) duration() float64 {
	if !strings.Contains(string(r), `"duration"`) { // large results are not parsed for nothing
		return 0
	}
	var found struct {
		Duration float64 `json:"duration"`
	}
	if json.Unmarshal([]byte(r), &found) != nil || found.Duration < 0 || found.Duration > maxDuration {
		return 0
	}
	return found.Duration
}

// Warnings are codes of what was corrected in the analysis server's report, separated by commas. A
// string keeps records comparable.
type Warnings string

// NewWarnings makes warnings of codes.
func NewWarnings(codes []string) Warnings { return Warnings(strings.Join(codes, ",")) }

// MarshalJSON implements json.Marshaler. Warnings are a list.
func (w Warnings) MarshalJSON() ([]byte, error) {
	if w == "" {
		return []byte("[]"), nil
	}
	return json.Marshal(strings.Split(string(w), ","))
}

package job

import (
	"encoding/json"
	"math"
	"strings"
)

// Result is the result of an analysis, as JSON text; empty if there is none.
type Result string

// MarshalJSON implements json.Marshaler.
func (r Result) MarshalJSON() ([]byte, error) {
	if r == "" {
		return []byte("null"), nil
	}
	return []byte(r), nil
}

// The limits of durations, in seconds.
const (
	maxDuration      = 7 * 24 * 3600 // longest duration of a recording
	durationDistance = 0.5           // largest difference between the duration of the container and that of the analysis
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

// duration returns the member "duration" of a result, in seconds; 0 if it is absent or cannot be
// the duration of a recording.
func (r Result) duration() float64 {
	if !strings.Contains(string(r), `"duration"`) { // saves the parsing of large results
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

// Warnings has the codes of the corrections in the analysis server's report, separated by commas.
// It is a string so that records are comparable.
type Warnings string

// NewWarnings makes warnings from codes.
func NewWarnings(codes []string) Warnings { return Warnings(strings.Join(codes, ",")) }

// Codes returns the codes of the warnings; nil if there are none.
func (w Warnings) Codes() []string {
	if w == "" {
		return nil
	}
	return strings.Split(string(w), ",")
}

// MarshalJSON implements json.Marshaler. The JSON is a list.
func (w Warnings) MarshalJSON() ([]byte, error) {
	if w == "" {
		return []byte("[]"), nil
	}
	return json.Marshal(w.Codes())
}

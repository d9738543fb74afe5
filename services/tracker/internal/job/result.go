package job

import (
	"encoding/json"
	"math"
	"strings"
)

// Result is the result of an analysis, as JSON text; "" if there is none.
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
	maxDuration      = 7 * 24 * 3600 // longest plausible duration of a recording
	durationDistance = 0.5           // tolerated difference between the durations in durationOf
)

// durationOf returns the duration of a recording: either the one that the audio container states,
// or the one in the result of the analysis. 0 means unknown. The analysis decodes the recording, so
// its duration is exact. However, some analysis servers mean something else by "duration".
// Therefore the duration of the analysis is used only if the other is unknown or nearly the same.
func durationOf(container, analysis float64) float64 {
	if analysis > 0 && (container == 0 || math.Abs(analysis-container) <= durationDistance) {
		return analysis
	}
	return container
}

// duration returns the member "duration" of a result, in seconds; 0 if it is absent or implausible.
func (r Result) duration() float64 {
	if !strings.Contains(string(r), `"duration"`) { // avoids parsing a large result without a duration
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

// Warnings has the codes of the corrections that were made to the result, separated by commas. It
// is a string so that records can be compared with ==.
type Warnings string

// NewWarnings makes warnings from codes.
func NewWarnings(codes []string) Warnings { return Warnings(strings.Join(codes, ",")) }

// Codes returns the codes; nil if there are none.
func (w Warnings) Codes() []string {
	if w == "" {
		return nil
	}
	return strings.Split(string(w), ",")
}

// MarshalJSON implements json.Marshaler. It encodes the codes as an array.
func (w Warnings) MarshalJSON() ([]byte, error) {
	if w == "" {
		return []byte("[]"), nil
	}
	return json.Marshal(w.Codes())
}

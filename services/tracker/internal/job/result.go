package job

import (
	"encoding/json"
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

// maxDuration is the longest duration of a recording that is believed, in seconds: a week.
const maxDuration = 7 * 24 * 3600

// duration is the member "duration" of a result, in seconds; 0 if it is absent or cannot be the
// duration of a recording.
func (r Result) duration() float64 {
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

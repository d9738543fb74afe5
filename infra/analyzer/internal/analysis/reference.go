package analysis

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
)

// ErrReference means that a pitch reference cannot be parsed.
var ErrReference = errors.New("unknown pitch reference")

// ParseReference parses a reference pitch contour and returns its voiced values in Hz. The contour is a list of
// {"time": s, "hz": Hz} (also "frequency", "pitch" or "f0" instead of "hz"), or the pitch object in a result of this
// server. Values that are null, zero or negative are unvoiced.
func ParseReference(data []byte) ([]float64, error) {
	data = bytes.TrimPrefix(bytes.TrimSpace(data), []byte("\xef\xbb\xbf"))
	var track struct {
		Hz []*float64 `json:"hz"`
	}
	var points []struct {
		Hz        *float64 `json:"hz"`
		Frequency *float64 `json:"frequency"`
		Pitch     *float64 `json:"pitch"`
		F0        *float64 `json:"f0"`
	}
	if bytes.HasPrefix(data, []byte("{")) {
		if err := json.Unmarshal(data, &track); err != nil {
			return nil, fmt.Errorf("parse pitch track: %w: %w", ErrReference, err)
		}
	} else if err := json.Unmarshal(data, &points); err != nil {
		return nil, fmt.Errorf("parse pitch list: %w: %w", ErrReference, err)
	}
	values := track.Hz
	for _, p := range points {
		for _, v := range []*float64{p.Hz, p.Frequency, p.Pitch, p.F0} {
			if v != nil {
				values = append(values, v)
				break
			}
		}
	}
	var voiced []float64
	for _, v := range values {
		if v != nil && *v > 0 && !math.IsInf(*v, 0) {
			voiced = append(voiced, *v)
		}
	}
	if len(voiced) == 0 {
		return nil, fmt.Errorf("pitch reference without voiced values: %w", ErrReference)
	}
	return voiced, nil
}

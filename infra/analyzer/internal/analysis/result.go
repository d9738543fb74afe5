package analysis

import (
	"math"
	"strconv"

	"sori.internal/infra/analyzer/internal/decode"
	"sori.internal/infra/analyzer/internal/measure"
)

// Result is the JSON object analysis_results. A nil pointer becomes null: the recording has no such value.
type Result struct {
	Duration         float64   `json:"duration"`           // seconds
	SampleRate       int       `json:"sample_rate"`        // Hz
	Channels         int       `json:"channels"`           // number of channels in the file
	Format           string    `json:"format"`             // container, for example wav, flac, mp3, ogg
	Codec            string    `json:"codec"`              // ffmpeg's name of the codec, for example pcm_s16le, flac, mp3, vorbis
	LoudnessLUFS     *Decimal2 `json:"loudness_lufs"`      // integrated loudness (BS.1770-4); null for silence and for less than 400 ms
	PeakDBFS         *Decimal2 `json:"peak_dbfs"`          // highest absolute sample; null for digital silence
	TruePeakDBTP     *Decimal2 `json:"true_peak_dbtp"`     // true peak (BS.1770-4, annex 2); null for digital silence
	Segments         []Segment `json:"segments"`           // speech and silence without gaps, from 0 to duration
	SpeechSeconds    Decimal3  `json:"speech_seconds"`     // total duration of the speech segments
	Pitch            Pitch     `json:"pitch"`              // the track
	PitchMedianHz    *Decimal2 `json:"pitch_median_hz"`    // median of the voiced frames; null if no frame is voiced
	VoicedSegments   int       `json:"voiced_segments"`    // continuous voiced stretches of at least 40 ms
	SpeechRate       Decimal3  `json:"speech_rate"`        // voiced segments per second of the recording
	ArticulationRate *Decimal3 `json:"articulation_rate"`  // voiced segments per second of speech; null without speech
	PitchSimilarity  *Decimal2 `json:"pitch_similarity"`   // similarity to the pitch reference, 0..100; null if nothing was compared
	Waveform         Waveform  `json:"waveform"`           // for display
	Warnings         []string  `json:"warnings,omitempty"` // parts of the analysis that failed, and irregularities of the file
	AnalysisSeconds  Decimal3  `json:"analysis_seconds"`   // duration of the analysis

}

// Segment is a stretch of the recording in seconds; kind is "speech" or "silence".
type Segment struct {
	Start Decimal3 `json:"start"`
	End   Decimal3 `json:"end"`
	Kind  string   `json:"kind"`
}

// Pitch is a pitch track: value i belongs to the time i*hop_seconds. Long recordings have a larger hop, so that the
// number of values is limited.
type Pitch struct {
	HopSeconds Decimal3    `json:"hop_seconds"`
	Hz         []*Decimal1 `json:"hz"`      // null if unvoiced
	Voicing    []Decimal2  `json:"voicing"` // periodicity of each frame, 0..1
}

// Waveform describes the mono mix: the recording is divided into stretches of equal length, and Min[i] and Max[i] are
// the lowest and the highest sample of stretch i. Full scale is -1..1.
type Waveform struct {
	Min []Decimal3 `json:"min"`
	Max []Decimal3 `json:"max"`
}

// Numbers that are rounded in JSON, which halves the size of a track.
type (
	// Decimal1 is rounded to one decimal place.
	Decimal1 float64
	// Decimal2 is rounded to two decimal places.
	Decimal2 float64
	// Decimal3 is rounded to three decimal places.
	Decimal3 float64
)

// MarshalJSON implements json.Marshaler.
func (d Decimal1) MarshalJSON() ([]byte, error) { return decimal(float64(d), 10), nil }

// MarshalJSON implements json.Marshaler.
func (d Decimal2) MarshalJSON() ([]byte, error) { return decimal(float64(d), 100), nil }

// MarshalJSON implements json.Marshaler.
func (d Decimal3) MarshalJSON() ([]byte, error) { return decimal(float64(d), 1000), nil }

// decimal rounds a number to a multiple of 1/unit and formats it as JSON. NaN and infinity, which should not occur,
// become null.
func decimal(v, unit float64) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return []byte("null")
	}
	v = math.Round(v*unit) / unit
	if v == 0 {
		v = 0 // no "-0"
	}
	return strconv.AppendFloat(nil, v, 'f', -1, 64)
}

// optional converts a value of a meter to a pointer, which is nil if ok is false.
func optional[D ~float64](v float64, ok bool) *D {
	if !ok {
		return nil
	}
	d := D(v)
	return &d
}

// pitchTrack reduces a track with one value every 10 ms to at most limit values. It divides the track into groups of
// equal length and keeps the first value of each group.
func pitchTrack(hz, voicing []float32, limit int) Pitch {
	by := max(1, (len(hz)+limit-1)/limit)
	p := Pitch{HopSeconds: Decimal3(measure.PitchHopSeconds * float64(by)), Hz: []*Decimal1{}, Voicing: []Decimal2{}}
	values := make([]Decimal1, 0, len(hz)/by+1) // one array for all values to which the elements of Hz point
	for i := 0; i < len(hz); i += by {
		p.Voicing = append(p.Voicing, Decimal2(voicing[i]))
		if hz[i] <= 0 {
			p.Hz = append(p.Hz, nil)
			continue
		}
		values = append(values, Decimal1(hz[i]))
		p.Hz = append(p.Hz, &values[len(values)-1])
	}
	return p
}

// weights returns the weights of channels with the given roles (BS.1770-4, table 3).
func weights(roles []decode.Role) []float64 {
	out := make([]float64, len(roles))
	for i, r := range roles {
		switch r {
		case decode.RoleFront:
			out[i] = 1
		case decode.RoleSurround:
			out[i] = 1.41
		case decode.RoleLFE:
			out[i] = 0
		}
	}
	return out
}

// Package catalogue is what the catalogue knows and which rules its entries
// keep. An input that breaks rules is refused with all of them at once, so that
// a form can be mended in one go.
package catalogue

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"sori.internal/shared/fault"
)

// Token is one line to be spoken, with its references. The optional fields are
// nil where they are not known.
type Token struct {
	ID          int64
	Name        string
	Actor       string
	Category    *string
	Start       float64 // seconds
	End         float64
	TextGridURL *string
	PitchURL    *string
	BGVoiceURL  *string
	YouTubeURL  *string
}

// Filter chooses tokens for a list. Empty fields choose all.
type Filter struct {
	Category string // equal
	Actor    string // equal
	Search   string // part of the token's name, in any case
	Skip     int64
	Limit    int64
}

// The bounds of text fields, in characters.
const (
	maxText = 255
	maxURL  = 2048
)

// DecodeToken reads a token out of a JSON object. Fields that it does not know
// are ignored.
func DecodeToken(body []byte) (Token, error) {
	var given map[string]json.RawMessage
	if !json.Valid(body) {
		return Token{}, fault.New(fault.Invalid, "malformed-json", "The body is not JSON.")
	}
	if err := json.Unmarshal(body, &given); err != nil || given == nil {
		return Token{}, Invalid(fault.Violation{Pointer: "", Detail: "must be a JSON object"})
	}
	f := fields{given: given}
	t := Token{
		Name: f.required("token_name"), Actor: f.required("actor_name"), Category: f.optional("category", maxText),
		Start: f.seconds("start_time"), End: f.seconds("end_time"),
		TextGridURL: f.optional("s3_textgrid_url", maxURL), PitchURL: f.optional("s3_pitch_url", maxURL),
		BGVoiceURL: f.optional("s3_bgvoice_url", maxURL), YouTubeURL: f.optional("youtube_url", maxURL),
	}
	if t.Start < 0 {
		f.broken("start_time", "must not be negative")
	}
	if t.End <= t.Start && !f.breaks("start_time") && !f.breaks("end_time") {
		f.broken("end_time", "must be greater than start_time")
	}
	if len(f.violations) > 0 {
		return Token{}, Invalid(f.violations...)
	}
	return t, nil
}

// Invalid is the failure of an input that breaks rules.
func Invalid(violations ...fault.Violation) error {
	return &fault.Error{
		Kind: fault.Invalid, Code: "validation-failed", Detail: "The request breaks one or more rules.", Violations: violations,
	}
}

// fields reads the members of an object and collects the rules that they break.
type fields struct {
	given      map[string]json.RawMessage
	violations []fault.Violation
}

func (f *fields) broken(name, detail string) {
	f.violations = append(f.violations, fault.Violation{Pointer: "/" + name, Detail: detail})
}

func (f *fields) breaks(name string) bool {
	for _, v := range f.violations {
		if v.Pointer == "/"+name {
			return true
		}
	}
	return false
}

// present gives a member's value; none for null, which counts as absent.
func (f *fields) present(name string) (json.RawMessage, bool) {
	raw, ok := f.given[name]
	return raw, ok && string(raw) != "null"
}

func (f *fields) required(name string) string {
	s := f.optional(name, maxText)
	switch {
	case s != nil && strings.TrimSpace(*s) != "":
		return *s
	case !f.breaks(name):
		f.broken(name, "is required")
	}
	return ""
}

func (f *fields) optional(name string, limit int) *string {
	raw, ok := f.present(name)
	if !ok {
		return nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		f.broken(name, "must be a string")
		return nil
	}
	if utf8.RuneCountInString(s) > limit {
		f.broken(name, fmt.Sprintf("must have at most %d characters", limit))
		return nil
	}
	if strings.ContainsRune(s, 0) { // which the database cannot hold
		f.broken(name, "must not contain the character U+0000")
		return nil
	}
	return &s
}

func (f *fields) seconds(name string) float64 {
	raw, ok := f.present(name)
	if !ok {
		f.broken(name, "is required")
		return 0
	}
	var n float64
	if err := json.Unmarshal(raw, &n); err != nil || math.IsInf(n, 0) {
		f.broken(name, "must be a number of seconds")
		return 0
	}
	return n
}

package catalogue

import (
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"sori.internal/shared/fault"
)

// The bounds of text, in characters.
const (
	maxName = 255
	maxURL  = 2048
	maxText = 10_000
)

// NormalizeName returns a name in the form in which it is stored and searched, Unicode's NFC without
// surrounding spaces. Hangul has two forms that look the same, and macOS sends the other one (NFD).
func NormalizeName(name string) string { return norm.NFC.String(strings.TrimSpace(name)) }

// fields reads the members of an object and collects the rules that they break.
type fields struct {
	given      map[string]json.RawMessage
	violations []fault.Violation
}

// read takes a JSON object apart. Members that nobody asks for are ignored.
func read(body []byte) (*fields, error) {
	if !utf8.Valid(body) || !json.Valid(body) {
		return nil, fault.New(fault.Invalid, "malformed-json", "The body is not JSON in UTF-8.")
	}
	f := &fields{}
	if err := json.Unmarshal(body, &f.given); err != nil || f.given == nil {
		return nil, fault.ValidationFailed(fault.Violation{Pointer: "", Detail: "must be a JSON object"})
	}
	return f, nil
}

// err is the failure of an object that breaks rules.
func (f *fields) err() error {
	if len(f.violations) == 0 {
		return nil
	}
	return fault.ValidationFailed(f.violations...)
}

func (f *fields) broken(member, detail string) {
	f.violations = append(f.violations, fault.Violation{Pointer: "/" + member, Detail: detail})
}

func (f *fields) breaks(member string) bool {
	for _, v := range f.violations {
		if v.Pointer == "/"+member {
			return true
		}
	}
	return false
}

// present gives a member's value; none for null, which counts as absent.
func (f *fields) present(member string) (json.RawMessage, bool) {
	raw, ok := f.given[member]
	return raw, ok && string(raw) != "null"
}

// required reads a member that must be there, by one of the readers below.
func (f *fields) required(member string, by func(member string) *string) string {
	if s := by(member); s != nil {
		return *s
	}
	if !f.breaks(member) {
		f.broken(member, "is required")
	}
	return ""
}

// name reads one line of text.
func (f *fields) name(member string) *string {
	return f.within(member, NormalizeName(f.text(member)), maxName, unicode.IsControl)
}

// prose reads text of any number of lines.
func (f *fields) prose(member string) *string {
	return f.within(member, f.text(member), maxText, func(r rune) bool {
		return unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t'
	})
}

// url reads an address, or what people write in its place.
func (f *fields) url(member string) *string {
	return f.within(member, f.text(member), maxURL, unicode.IsControl)
}

// reference reads what names an object: s3://bucket/key, a URL, or a bare key.
func (f *fields) reference(member string) *string {
	ref := f.url(member)
	if ref != nil && !isReference(*ref) {
		f.broken(member, "must be s3://bucket/key, an http or https URL, or a key")
		return nil
	}
	return ref
}

func isReference(ref string) bool {
	scheme, rest, ok := strings.Cut(ref, "://")
	if !ok {
		return strings.Trim(ref, "/") != ""
	}
	switch scheme {
	case "s3":
		bucket, key, _ := strings.Cut(rest, "/")
		return bucket != "" && key != ""
	case "http", "https":
		u, err := url.Parse(ref)
		return err == nil && u.Host != ""
	default:
		return false
	}
}

// text reads a string; empty where there is none, and where it says nothing.
func (f *fields) text(member string) string {
	raw, ok := f.present(member)
	if !ok {
		return ""
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		f.broken(member, "must be a string")
	}
	if strings.TrimSpace(s) == "" {
		return ""
	}
	return s
}

// within keeps text to a limit, and free of characters such as U+0000, which the
// database cannot hold.
func (f *fields) within(member, s string, limit int, forbidden func(rune) bool) *string {
	switch {
	case s == "":
		return nil
	case utf8.RuneCountInString(s) > limit:
		f.broken(member, fmt.Sprintf("must have at most %d characters", limit))
		return nil
	case strings.ContainsFunc(s, forbidden):
		f.broken(member, "must not contain control characters")
		return nil
	default:
		return &s
	}
}

// times reads where something starts and ends.
func (f *fields) times() (start, end float64) {
	start, end = f.seconds("start_time"), f.seconds("end_time")
	if start < 0 {
		f.broken("start_time", "must not be negative")
	}
	if end <= start && !f.breaks("start_time") && !f.breaks("end_time") {
		f.broken("end_time", "must be greater than start_time")
	}
	return start, end
}

func (f *fields) seconds(member string) float64 {
	raw, ok := f.present(member)
	if !ok {
		f.broken(member, "is required")
		return 0
	}
	var n float64
	if err := json.Unmarshal(raw, &n); err != nil || math.IsInf(n, 0) {
		f.broken(member, "must be a number of seconds")
		return 0
	}
	return n
}

// id reads the id of another entry.
func (f *fields) id(member string) int64 {
	raw, ok := f.present(member)
	if !ok {
		f.broken(member, "is required")
		return 0
	}
	var n int64
	if err := json.Unmarshal(raw, &n); err != nil || n < 1 {
		f.broken(member, "must be a positive integer")
		return 0
	}
	return n
}

package catalogue

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"sori.internal/shared/fault"
)

// The limits of text, in characters.
const (
	maxName = 255
	maxURL  = 2048
	maxText = 10_000
)

// NormalizeName returns a name in the form in which names are stored and searched: Unicode's NFC,
// without surrounding spaces. Hangul also has the form NFD, which looks the same and which macOS
// sends.
func NormalizeName(name string) string { return norm.NFC.String(strings.TrimSpace(name)) }

// fields reads the members of a JSON object and collects the violations of their rules.
type fields struct {
	members    map[string]json.RawMessage
	violations []fault.Violation
}

// parseObject parses a JSON object. Unknown members are ignored.
func parseObject(body []byte) (*fields, error) {
	if !utf8.Valid(body) || !json.Valid(body) {
		return nil, fault.MalformedJSON("The body is not JSON in UTF-8.", nil)
	}
	f := &fields{}
	if err := json.Unmarshal(body, &f.members); err != nil || f.members == nil {
		return nil, fault.ValidationFailed(fault.Violation{Pointer: "", Detail: "must be a JSON object"})
	}
	return f, nil
}

// err returns a failure that names every broken rule; nil if no rule is broken.
func (f *fields) err() error {
	if len(f.violations) == 0 {
		return nil
	}
	return fault.ValidationFailed(f.violations...)
}

func (f *fields) refuse(member, detail string) {
	f.violations = append(f.violations, fault.Violation{Pointer: "/" + member, Detail: detail})
}

func (f *fields) refused(member string) bool {
	for _, v := range f.violations {
		if v.Pointer == "/"+member {
			return true
		}
	}
	return false
}

// present returns the value of a member. Null counts as absent.
func (f *fields) present(member string) (json.RawMessage, bool) {
	raw, ok := f.members[member]
	return raw, ok && string(raw) != "null"
}

// required reads a mandatory member. read is one of the methods below.
func (f *fields) required(member string, read func(member string) *string) string {
	if s := read(member); s != nil {
		return *s
	}
	if !f.refused(member) {
		f.refuse(member, "is required")
	}
	return ""
}

// name reads a name, which is one line of text.
func (f *fields) name(member string) *string {
	return f.checked(member, NormalizeName(f.text(member)), maxName, unicode.IsControl)
}

// prose reads text that may have several lines.
func (f *fields) prose(member string) *string {
	return f.checked(member, f.text(member), maxText, func(r rune) bool {
		return unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t'
	})
}

// notBlank reports whether a character is neither a space nor one that nothing is shown for, such as
// the zero-width space and the Hangul filler. A name of such characters only could not be seen in a list.
func notBlank(r rune) bool {
	return !unicode.In(r, unicode.White_Space, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point)
}

// text reads a string; empty if it is absent or blank.
func (f *fields) text(member string) string {
	raw, ok := f.present(member)
	if !ok {
		return ""
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		f.refuse(member, "must be a string")
	}
	if !strings.ContainsFunc(s, notBlank) {
		return ""
	}
	return s
}

// checked checks the length of a text, and refuses characters such as U+0000, which Postgres cannot
// store.
func (f *fields) checked(member, s string, limit int, forbidden func(rune) bool) *string {
	switch {
	case s == "":
		return nil
	case utf8.RuneCountInString(s) > limit:
		f.refuse(member, fmt.Sprintf("must have at most %d characters", limit))
		return nil
	case strings.ContainsFunc(s, forbidden):
		f.refuse(member, "must not contain control characters")
		return nil
	default:
		return &s
	}
}

// times reads start_time and end_time.
func (f *fields) times() (start, end float64) {
	start, end = f.seconds("start_time"), f.seconds("end_time")
	if start < 0 {
		f.refuse("start_time", "must not be negative")
	}
	if end <= start && !f.refused("start_time") && !f.refused("end_time") {
		f.refuse("end_time", "must be greater than start_time")
	}
	return start, end
}

// seconds reads a mandatory time, in seconds.
func (f *fields) seconds(member string) float64 {
	return number(f, member, "must be a number of seconds", func(n float64) bool { return !math.IsInf(n, 0) })
}

// id reads the id of an entry.
func (f *fields) id(member string) int64 {
	return number(f, member, "must be a positive integer", func(n int64) bool { return n >= 1 })
}

// number reads a mandatory number. It returns 0 if the number is absent or breaks the rule.
func number[N int64 | float64](f *fields, member, rule string, holds func(N) bool) N {
	raw, ok := f.present(member)
	if !ok {
		f.refuse(member, "is required")
		return 0
	}
	var n N
	if err := json.Unmarshal(raw, &n); err != nil || !holds(n) {
		f.refuse(member, rule)
		return 0
	}
	return n
}

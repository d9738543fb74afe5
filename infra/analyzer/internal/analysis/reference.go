package analysis

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// ErrReference means that a pitch reference has no known form, no voiced values, or too many of them.
var ErrReference = errors.New("unknown pitch reference")

// maxVoiced is the largest number of voiced values that a reference may have: three hours in steps of 10 ms.
const maxVoiced = 3 * 3600 * 100

// point is one entry of a reference that is a list of points. At most one of the fields is expected.
type point struct {
	Hz        *float64 `json:"hz"`
	Frequency *float64 `json:"frequency"`
	Pitch     *float64 `json:"pitch"`
	F0        *float64 `json:"f0"`
}

// value returns the pitch of an entry, or nil if the entry has none.
func (p point) value() *float64 {
	for _, v := range []*float64{p.Hz, p.Frequency, p.Pitch, p.F0} {
		if v != nil {
			return v
		}
	}
	return nil
}

// ParseReference parses a reference pitch contour and returns its voiced values in Hz. The contour is a list of
// {"time": s, "hz": Hz} (also "frequency", "pitch" or "f0" instead of "hz"), or the pitch object in a result of this
// server. Values that are null, zero or negative are unvoiced. ParseReference fails if there is no voiced value, or if
// there are more than 1,080,000 (three hours in steps of 10 ms), since a file of 32 MB may have ten million entries. The
// error wraps ErrReference.
func ParseReference(r io.Reader) ([]float64, error) {
	in := bufio.NewReader(r)
	skipSpace(in)
	if mark, err := in.Peek(3); err == nil && string(mark) == "\xef\xbb\xbf" {
		_, _ = in.Discard(len(mark)) // cannot fail: as many bytes were just peeked
	}
	p := referenceParser{json: json.NewDecoder(in)}
	if err := p.parse(); err != nil {
		return nil, fmt.Errorf("parse pitch reference: %w: %w", ErrReference, err)
	}
	if len(p.voiced) == 0 {
		return nil, fmt.Errorf("pitch reference without voiced values: %w", ErrReference)
	}
	return p.voiced, nil
}

// skipSpace skips the white space that JSON allows between values.
func skipSpace(in *bufio.Reader) {
	for {
		c, err := in.ReadByte()
		if err != nil {
			return
		}
		if !strings.ContainsRune(" \t\r\n", rune(c)) {
			_ = in.UnreadByte() // cannot fail: a byte was just read
			return
		}
	}
}

// referenceParser parses a reference one value at a time, so that only the voiced values need memory.
type referenceParser struct {
	json   *json.Decoder
	voiced []float64
}

// errForm means that the JSON does not have the form of a reference, errLong that a reference has too many values.
var (
	errForm = errors.New("neither a list of points nor a pitch track")
	errLong = errors.New("too many values")
)

func (p *referenceParser) parse() error {
	begin, err := p.json.Token()
	switch {
	case err != nil:
	case begin == json.Delim('['):
		err = p.points()
	case begin == json.Delim('{'):
		err = p.track()
	default:
		err = errForm
	}
	if err != nil {
		return err
	}
	if _, err := p.json.Token(); !errors.Is(err, io.EOF) {
		return errForm
	}
	return nil
}

// points parses a list of points after its opening bracket.
func (p *referenceParser) points() error {
	for p.json.More() {
		var entry point
		if err := p.json.Decode(&entry); err != nil {
			return err
		}
		if err := p.add(entry.value()); err != nil {
			return err
		}
	}
	_, err := p.json.Token()
	return err
}

// track parses a pitch object after its opening brace. It skips all members except "hz".
func (p *referenceParser) track() error {
	for p.json.More() {
		name, err := p.json.Token()
		if err != nil {
			return err
		}
		if key, ok := name.(string); ok && strings.EqualFold(key, "hz") {
			err = p.values()
		} else {
			var skipped json.RawMessage
			err = p.json.Decode(&skipped)
		}
		if err != nil {
			return err
		}
	}
	_, err := p.json.Token()
	return err
}

// values parses the member "hz" of a pitch object: null, or a list of numbers and nulls.
func (p *referenceParser) values() error {
	p.voiced = nil // if two members have the same name, the last one is used
	begin, err := p.json.Token()
	if err != nil || begin == nil {
		return err
	}
	if begin != json.Delim('[') {
		return errForm
	}
	for p.json.More() {
		var v *float64
		if err := p.json.Decode(&v); err != nil {
			return err
		}
		if err := p.add(v); err != nil {
			return err
		}
	}
	_, err = p.json.Token()
	return err
}

// add appends a value to the voiced values. It ignores unvoiced values: nil, zero, negative and infinite.
func (p *referenceParser) add(v *float64) error {
	if v == nil || !(*v > 0) || math.IsInf(*v, 0) {
		return nil
	}
	if len(p.voiced) == maxVoiced {
		return errLong
	}
	p.voiced = append(p.voiced, *v)
	return nil
}

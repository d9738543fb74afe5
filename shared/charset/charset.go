// Package charset finds the charset that a client or a server names in a header or in a form.
package charset

import (
	"errors"
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
)

// ErrUnknown is the error of Find for a name that no charset has.
var ErrUnknown = errors.New("unknown charset")

// Find returns the charset with a name, in any case. The names are those of the WHATWG Encoding
// Standard, in which EUC-KR means Windows code page 949 and ISO-8859-1 means windows-1252, and the
// names that Java and Python have for code page 949. Find fails with ErrUnknown.
func Find(name string) (encoding.Encoding, error) {
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "cp949", "ms949", "uhc", "x-windows-949":
		name = "windows-949"
	}
	found, err := htmlindex.Get(name)
	if err != nil {
		return nil, ErrUnknown
	}
	return found, nil
}

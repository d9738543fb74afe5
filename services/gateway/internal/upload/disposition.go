package upload

import (
	"net/url"
	"strconv"
	"strings"
)

// The parameters of Content-Disposition (RFC 7578, section 4.2, and RFC 2183).
const (
	nameParam     = "name"
	fileNameParam = "filename"
)

// disposition is the Content-Disposition of a part.
type disposition struct{ params params }

// parseDisposition parses the value of the header. The disposition type is ignored: only the name
// of the part is used.
func parseDisposition(value string) disposition {
	if kind, rest, _ := strings.Cut(value, ";"); !strings.Contains(kind, "=") {
		value = rest
	}
	return disposition{parseParams(value, nameParam, parsers(
		nameParam, fileNameParam, "size", "creation-date", "modification-date", "read-date",
	))}
}

// name returns the name of the form field. If there are several name parameters, some may be part
// of a file name with unescaped quotes. Then name returns the first one if it precedes the file
// name, otherwise the last one.
func (d disposition) name() string {
	name, found, afterFileName := "", false, false
	for _, p := range d.params {
		switch {
		case p.name == nameParam && !afterFileName:
			return p.value
		case p.name == nameParam:
			name, found = p.value, true
		case strings.HasPrefix(p.name, fileNameParam):
			afterFileName = true
		}
	}
	if value, ok := d.params.first(nameParam + "*"); ok && !found {
		name, _ = decodeExtended(value)
	}
	return name
}

// fileName returns the name of the file in UTF-8. charset is the charset that the form names; empty
// if the form names none.
//
// filename* (RFC 8187) has precedence over filename, since it names its charset. RFC 7578 forbids
// filename* in forms, but .NET, older versions of urllib3 and mail libraries send it.
func (d disposition) fileName(charset string) string {
	if value, ok := d.params.first(fileNameParam + "*"); ok {
		if text, ok := decodeExtended(value); ok {
			return text
		}
	}
	if value, ok := d.params.first(fileNameParam); ok && value != "" {
		return decodeFileName(value, charset)
	}
	return d.continued()
}

// decodeExtended decodes a value such as UTF-8'ko'%EC%95%88 (RFC 8187, section 3.2).
func decodeExtended(value string) (string, bool) {
	charset, rest, ok := strings.Cut(value, "'")
	_, rest, again := strings.Cut(rest, "'")
	if !ok || !again {
		return "", false
	}
	return decode(unescape(rest), charset)
}

// continued joins filename*0, filename*1 and so on (RFC 2231, section 3). If the first parameter is
// filename*0*, its value begins with the charset.
func (d disposition) continued() string {
	var b strings.Builder
	charset, values := "", d.params.byName()
	for i := range d.params {
		key := fileNameParam + "*" + strconv.Itoa(i)
		piece, ok := values[key]
		if !ok {
			if piece, ok = values[key+"*"]; !ok {
				break
			}
			if i == 0 {
				charset, piece, _ = strings.Cut(piece, "'")
				_, piece, _ = strings.Cut(piece, "'")
			}
			piece = unescape(piece)
		}
		b.WriteString(piece)
	}
	return decodeText(b.String(), charset)
}

// unescape decodes percent escapes. If an escape is invalid, it returns the text unchanged.
func unescape(s string) string {
	if text, err := url.PathUnescape(s); err == nil {
		return text
	}
	return s
}

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

// disposition is what the Content-Disposition of a part says.
type disposition struct{ params params }

// readDisposition reads the field's value. Its type is not looked at: the name
// decides what a part is.
func readDisposition(value string) disposition {
	if kind, rest, _ := strings.Cut(value, ";"); !strings.Contains(kind, "=") {
		value = rest
	}
	return disposition{readParams(value, nameParam, readings(
		nameParam, fileNameParam, "size", "creation-date", "modification-date", "read-date",
	))}
}

// name is the name of the form's field. Where there are several, that one counts
// which cannot be a part of a file name with quotes that nobody escaped: the
// first where it stands before the file name, else the last.
func (d disposition) name() string {
	name, found, behind := "", false, false
	for _, p := range d.params {
		switch {
		case p.name == nameParam && !behind:
			return p.value
		case p.name == nameParam:
			name, found = p.value, true
		case strings.HasPrefix(p.name, fileNameParam):
			behind = true
		}
	}
	if value, ok := d.params.first(nameParam + "*"); ok && !found {
		name, _ = extended(value)
	}
	return name
}

// fileName is the file's name in UTF-8, as sent. charset is what the form says
// its text is in, empty where it says nothing.
//
// filename* (RFC 8187) wins over filename wherever it stands, since it names its
// charset. RFC 7578 forbids it in forms; .NET, older versions of urllib3 and
// those who build forms with a library for mail send it nevertheless.
func (d disposition) fileName(charset string) string {
	if value, ok := d.params.first(fileNameParam + "*"); ok {
		if text, ok := extended(value); ok {
			return text
		}
	}
	if value, ok := d.params.first(fileNameParam); ok && value != "" {
		return plainName(value, charset)
	}
	return d.continued()
}

// extended decodes a value like UTF-8'ko'%EC%95%88 (RFC 8187, section 3.2).
func extended(value string) (string, bool) {
	charset, rest, ok := strings.Cut(value, "'")
	_, rest, again := strings.Cut(rest, "'")
	if !ok || !again {
		return "", false
	}
	return decode(unescape(rest), charset)
}

// continued joins filename*0, filename*1 and so on (RFC 2231, section 3). Of
// those that end with an asterisk the first names the charset.
func (d disposition) continued() string {
	var b strings.Builder
	charset := ""
	for i := range d.params {
		key := fileNameParam + "*" + strconv.Itoa(i)
		piece, ok := d.params.first(key)
		if !ok {
			if piece, ok = d.params.first(key + "*"); !ok {
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
	return textIn(b.String(), charset)
}

// unescape decodes percent escapes and leaves what is none as it is.
func unescape(s string) string {
	if text, err := url.PathUnescape(s); err == nil {
		return text
	}
	return s
}

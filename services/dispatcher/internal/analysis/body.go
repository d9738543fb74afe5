package analysis

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"io"
	"mime"
	"net/url"
	"strings"

	"sori.internal/shared/fault"
)

// Body is a callback's body as it was received.
type Body struct {
	Bytes    []byte
	Type     string // Content-Type
	Encoding string // Content-Encoding
	Limit    int64  // largest decoded size, in bytes
}

// parse decodes and parses the body.
func (b Body) parse() (report, error) {
	text, err := b.json()
	if err != nil {
		return report{}, err
	}
	return parseReport(text)
}

// json returns the body as JSON: decompressed, and converted if it is a form.
func (b Body) json() ([]byte, error) {
	plain, err := b.decompress()
	if err != nil {
		return nil, err
	}
	trimmed := bytes.TrimSpace(bytes.TrimPrefix(plain, []byte("\xef\xbb\xbf")))
	mediaType, _, _ := mime.ParseMediaType(b.Type)
	if mediaType != "application/x-www-form-urlencoded" || bytes.HasPrefix(trimmed, []byte("{")) {
		return plain, nil // some servers send JSON with the default Content-Type of their HTTP client
	}
	return formJSON(trimmed)
}

// decompress decodes the Content-Encoding of the body (RFC 9110, section 8.4.1), up to the limit.
func (b Body) decompress() ([]byte, error) {
	var r io.Reader
	var err error
	switch encoding := strings.ToLower(strings.TrimSpace(b.Encoding)); encoding {
	case "", "identity":
		return b.Bytes, nil
	case "gzip", "x-gzip":
		r, err = gzip.NewReader(bytes.NewReader(b.Bytes))
	case "deflate":
		// By RFC 9110 "deflate" means the zlib format; some servers send the raw deflate stream.
		if r, err = zlib.NewReader(bytes.NewReader(b.Bytes)); err != nil {
			r, err = flate.NewReader(bytes.NewReader(b.Bytes)), nil
		}
	default:
		return nil, fault.New(fault.Unsupported, "unsupported-encoding", "The Content-Encoding is none of gzip, deflate, identity.")
	}
	if err != nil {
		return nil, malformedEncoding(err)
	}
	plain, err := io.ReadAll(io.LimitReader(r, b.Limit+1))
	if err != nil {
		return nil, malformedEncoding(err)
	}
	if int64(len(plain)) > b.Limit {
		return nil, fault.ExceedsLimit("body", b.Limit, nil)
	}
	return plain, nil
}

func malformedEncoding(err error) error {
	return fault.MalformedRequest("The body is not what its Content-Encoding says.", err)
}

// formJSON converts a form to a JSON object. Its values are strings, except the results, which are
// JSON if they can be parsed as JSON.
func formJSON(body []byte) ([]byte, error) {
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, fault.MalformedRequest("The form could not be read.", err)
	}
	object := make(map[string]json.RawMessage, len(values))
	for name := range values {
		text := []byte(values.Get(name))
		if fixed, _ := replaceNonFinite(text); (name == "analysis_results" || name == "result") && json.Valid(fixed) {
			object[name] = text // not fixed: parseFields replaces the numbers, and adds the warning
			continue
		}
		if object[name], err = json.Marshal(string(text)); err != nil {
			return nil, fault.MalformedRequest("The form could not be read.", err)
		}
	}
	return joinObject(object), nil
}

// joinObject encodes an object. Its values may contain numbers that JSON does not allow.
func joinObject(object map[string]json.RawMessage) []byte {
	var b bytes.Buffer
	b.WriteByte('{')
	for name, value := range object {
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		key, _ := json.Marshal(name) // encoding a string never fails
		b.Write(key)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes()
}

// replaceNonFinite replaces NaN, Infinity and -Infinity, which some encoders write, by null. It
// does not change strings. found is false if there are none.
func replaceNonFinite(text []byte) (fixed []byte, found bool) {
	var out bytes.Buffer
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '"':
			end := endOfString(text, i)
			out.Write(text[i:end])
			i = end
		case isWord(c):
			end := i
			for end < len(text) && isWord(text[end]) {
				end++
			}
			switch word := string(text[i:end]); word {
			case "NaN", "-NaN", "Infinity", "-Infinity", "+Infinity":
				out.WriteString("null")
				found = true
			default:
				out.WriteString(word)
			}
			i = end
		default:
			out.WriteByte(c)
			i++
		}
	}
	return out.Bytes(), found
}

// endOfString returns the index after the JSON string that begins at i.
func endOfString(text []byte, i int) int {
	for i++; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}

// isWord reports whether a byte may be part of a literal or a number.
func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.' || c == '_'
}

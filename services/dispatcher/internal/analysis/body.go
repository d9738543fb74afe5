package analysis

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"sori.internal/shared/charset"
	"sori.internal/shared/fault"
)

// Body is the body of a callback or of a response, exactly as the server sent it.
type Body struct {
	Bytes    []byte
	Type     string // Content-Type
	Encoding string // Content-Encoding
	Limit    int64  // largest decoded size, in bytes
}

// parse decodes and parses the body.
func (b Body) parse() (report, error) {
	text, err := b.JSON()
	if err != nil {
		return report{}, err
	}
	return parseReport(text)
}

// formType is the media type of a form in which a body has no boundaries.
const formType = "application/x-www-form-urlencoded"

// JSON returns the body as JSON: decompressed, in UTF-8, and converted if it is a form, JSON in a JSON
// string, an array of one object, or a stream of objects, of which it returns the last one. It returns
// any other text unchanged.
func (b Body) JSON() ([]byte, error) {
	plain, err := b.decompress()
	if err != nil {
		return nil, err
	}
	mediaType, parameters, _ := mime.ParseMediaType(b.Type)
	text := bytes.TrimSpace(toUTF8(plain, parameters["charset"]))
	if last := lastOfStream(text, mediaType); last != nil {
		return last, nil
	}
	if bytes.HasPrefix(text, []byte("{")) {
		return text, nil // the Content-Type is ignored, since some HTTP clients declare every body as a form
	}
	var form url.Values
	switch mediaType {
	case formType:
		form, err = url.ParseQuery(string(text))
	case "multipart/form-data":
		form, err = parseMultipart(text, parameters["boundary"])
	default:
		return onlyElement(unquote(text)), nil
	}
	if err != nil {
		return nil, fault.MalformedRequest("The form could not be read.", err)
	}
	return formJSON(form, parameters["charset"])
}

// Object returns the JSON object in a body whose end is missing, or nil if the object is not complete.
// A form has no end by which that could be known.
func (b Body) Object() []byte {
	text, err := b.JSON()
	mediaType, _, _ := mime.ParseMediaType(b.Type)
	if err != nil || mediaType == formType || !isJSONObject(text) {
		return nil
	}
	return text
}

// toUTF8 converts a text to UTF-8 if it begins with a byte order mark or has another charset. A
// text that is valid UTF-8 already is not changed, whatever charset the server declares.
func toUTF8(text []byte, name string) []byte {
	if utf8.Valid(text) && bytes.IndexByte(text, 0) < 0 { // ASCII text in UTF-16 is also valid UTF-8, but contains NUL
		return bytes.TrimPrefix(text, []byte("\uFEFF"))
	}
	decoder := transform.Transformer(transform.Nop)
	if named, err := charset.Find(name); err == nil {
		decoder = named.NewDecoder()
	}
	converted, _, err := transform.Bytes(unicode.BOMOverride(decoder), text)
	if err != nil {
		return text
	}
	return converted
}

// unquote returns the object in a JSON string: some servers encode their JSON twice. It returns any
// other text unchanged.
func unquote(text []byte) []byte {
	var inner string
	if json.Unmarshal(text, &inner) == nil && strings.HasPrefix(strings.TrimSpace(inner), "{") {
		return []byte(inner)
	}
	return text
}

// maxFields is the largest number of fields of a multipart form, since parsing many fields takes
// long.
const maxFields = 1000

// parseMultipart returns the fields of a multipart form. A file counts as a field.
func parseMultipart(body []byte, boundary string) (url.Values, error) {
	values := url.Values{}
	parts := multipart.NewReader(bytes.NewReader(body), boundary)
	for range maxFields {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return values, nil
		}
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(part)
		if err != nil {
			return nil, err
		}
		values.Add(part.FormName(), string(text))
	}
	return nil, multipart.ErrMessageTooLarge
}

// decompress decodes the Content-Encoding of the body (RFC 9110, section 8.4.1). It fails if the
// decoded body is larger than b.Limit.
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

// formJSON converts a form to a JSON object. The values of the object are strings, except that the
// results stay JSON if they are valid JSON. Some HTTP clients write an object as repeated or
// bracketed fields, from which the results cannot be restored: formJSON refuses such a form.
func formJSON(form url.Values, charset string) ([]byte, error) {
	object := make(map[string]json.RawMessage, len(form))
	for name, values := range form {
		base, _, bracketed := strings.Cut(name, "[")
		if isResults(base) && (bracketed || len(values) > 1) {
			return nil, fault.MalformedRequest("The results in a form must be one field with JSON.", nil)
		}
		text := toUTF8([]byte(values[0]), charset)
		if fixed, _ := replaceNonFinite(text); isResults(name) && json.Valid(fixed) {
			object[name] = text // NaN and infinities stay in the text: parseFields replaces them and adds a warning
			continue
		}
		object[name], _ = json.Marshal(string(text)) // encoding a string never fails
	}
	return joinObject(object), nil
}

// joinObject encodes an object. Unlike json.Marshal it accepts values with NaN or infinities.
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

// replaceNonFinite replaces NaN and infinities outside of strings by null, in the spellings that
// the JSON encoders of several languages use. found reports whether there was any.
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
			if isNonFinite(text[i:end]) {
				out.WriteString("null")
				found = true
			} else {
				out.Write(text[i:end])
			}
			i = end
		default:
			out.WriteByte(c)
			i++
		}
	}
	return out.Bytes(), found
}

// isNonFinite reports whether a word is NaN or an infinity, in any case and with any sign.
func isNonFinite(word []byte) bool {
	word = bytes.TrimLeft(word, "+-")
	return bytes.EqualFold(word, []byte("nan")) || bytes.EqualFold(word, []byte("inf")) || bytes.EqualFold(word, []byte("infinity"))
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

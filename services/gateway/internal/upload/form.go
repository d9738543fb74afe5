package upload

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"mime/multipart"
	"slices"
	"strings"
	"unicode"

	"sori.internal/shared/fault"
	"sori.internal/shared/media"
)

// field is the name of the part that contains the recording.
const field = "file"

// envelopeSize is the maximal number of bytes of a body without the recording: boundaries, part
// headers, other parts, preamble and epilogue. Without it the header of one part could use 10 MiB
// of memory, the limit of mime/multipart.
const envelopeSize = 128 << 10

// charsetField is the part in which a form may name the charset of its text
// (RFC 7578, section 4.6).
const charsetField = "_charset_"

// The limits of a form.
const (
	maxBoundary = 70 // RFC 2046, section 5.1.1
	maxNames    = 16 // largest number of names of parts
)

// form is a multipart body, read from its beginning to its end.
type form struct {
	body    *countedBody
	parts   *multipart.Reader
	charset string // charset of the text of the form; empty if the form names none
	names   names  // names of the first parts that were skipped
	read    int    // number of parts that have begun

	otherFile bool // set if a part with another name had a file that was too large to be skipped
	described bool // set if a part named file is not a file, but describes one
	chunk     bool // set if the file of the form is one of several chunks of a file
	announced bool // set if the request declares the length of a file that is to follow in chunks
}

// newForm reads the boundary from the Content-Type of a request.
func newForm(r Request, digest bool) (*form, error) {
	boundary, charset, err := parseContentType(r.ContentType)
	if err != nil {
		return nil, err
	}
	if r.ContentRange != "" && !isWhole(r.ContentRange) {
		return nil, oneChunk()
	}
	body := &countedBody{r: r.Body, left: envelopeSize, inEnvelope: true, boundary: []byte("--" + boundary)}
	if digest {
		body.hash = sha256.New()
	}
	return &form{body: body, parts: multipart.NewReader(body, boundary), charset: charset, announced: r.UploadLength != ""}, nil
}

// parseContentType parses a Content-Type. It also accepts boundaries without quotes that the
// grammar allows only in quotes, such as ===1616===.
func parseContentType(contentType string) (boundary, charset string, err error) {
	mediaType, rest := contentType, ""
	if i := strings.IndexAny(contentType, ";,"+blank); i >= 0 {
		mediaType, rest = contentType[:i], contentType[i:]
	}
	if !strings.EqualFold(mediaType, "multipart/form-data") {
		return "", "", notMultipart(displayable(mediaType))
	}
	all := parseParams(strings.TrimLeft(rest, ";,"+blank), "boundary", parsers("boundary", "charset"))
	boundary, ok := all.first("boundary")
	if !ok || boundary == "" {
		return "", "", noBoundary()
	}
	other := func(p param) bool { return p.name == "boundary" && p.value != boundary }
	if len(boundary) > maxBoundary || slices.ContainsFunc(all, other) || strings.IndexFunc(boundary, unicode.IsControl) >= 0 {
		return "", "", badBoundary()
	}
	charset, _ = all.first("charset")
	return boundary, charset, nil
}

// part is the part of a form that has the recording.
type part struct {
	io.Reader

	name     string // name of the file, as the client sent it
	encoding string // Content-Transfer-Encoding; empty if the bytes are not encoded
}

// file advances to the part that has the recording.
func (f *form) file() (part, error) {
	found, err := f.next()
	if errors.Is(err, errLastPart) && f.announced {
		return part{}, oneChunk()
	}
	if errors.Is(err, errLastPart) && f.described && len(f.names) == 0 {
		_, err := media.Recognize([]byte(objectStart)) // fails: the text is sent in place of a file
		return part{}, err
	}
	if errors.Is(err, errLastPart) || f.otherFile {
		return part{}, noFile(f.names)
	}
	f.body.inEnvelope = err != nil
	return found, err
}

// errLastPart is returned after the closing boundary was read.
var errLastPart = errors.New("closing boundary")

// next skips to the next part named file that is a file.
func (f *form) next() (part, error) {
	f.body.inEnvelope = true
	for {
		// NextRawPart ignores Content-Transfer-Encoding, which forms do not have (RFC 7578, section
		// 4.7).
		p, err := f.parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return part{}, errLastPart
		}
		if err != nil {
			return part{}, f.explain(err)
		}
		f.read++
		d := parseDisposition(p.Header.Get("Content-Disposition"))
		name := d.name()
		if name == field {
			if found, ok, err := f.open(p, d); ok || err != nil {
				return found, err
			}
		}
		if err := f.skip(p, name); err != nil {
			f.otherFile = f.body.left <= 0 && d.fileName(f.charset) != ""
			return part{}, f.explain(err)
		}
		if f.chunk {
			return part{}, oneChunk()
		}
	}
}

// objectStart is the first character of an object in JSON.
const objectStart = "{"

// open returns a part named file. ok is false if the part is not a file: it has no file name, and is an
// object in JSON. FilePond sends the metadata of a file under the name of the file.
func (f *form) open(p *multipart.Part, d disposition) (found part, ok bool, err error) {
	found = part{Reader: p, name: d.fileName(f.charset)}
	switch e := strings.ToLower(strings.TrimSpace(p.Header.Get("Content-Transfer-Encoding"))); e {
	case "", "binary", "7bit", "8bit":
	default:
		found.encoding = displayable(e)
	}
	if found.name != "" {
		return found, true, nil
	}
	first := make([]byte, 1)
	n, err := io.ReadFull(p, first)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return found, false, f.explain(err)
	case string(first) == objectStart:
		f.described = true
		return found, false, nil
	}
	found.Reader = io.MultiReader(bytes.NewReader(first[:n]), p)
	return found, true, nil
}

// skip reads to the end of a part that is not the recording. It keeps the name of the part, the
// charset that a part named _charset_ names, and whether the form has only a chunk of a file.
func (f *form) skip(p *multipart.Part, name string) error {
	if name != field && len(f.names) < maxNames {
		f.names = append(f.names, displayable(decodeText(name, f.charset)))
	}
	value, err := io.ReadAll(io.LimitReader(p, maxDisplayed))
	if err != nil {
		return err //nolint:wrapcheck // explain wraps the error
	}
	if name == charsetField && f.charset == "" {
		f.charset = string(value)
	}
	f.chunk = f.chunk || countsChunks(name, string(value))
	_, err = io.Copy(io.Discard, p)
	return err //nolint:wrapcheck // as above
}

// end reads the rest of the body, after the recording. The request is complete only if this
// succeeds.
func (f *form) end() error {
	switch _, err := f.next(); {
	case err == nil:
		return fault.New(fault.Invalid, "file-ambiguous", `The form has more than one part named "file". Send one file at a time.`)
	case !errors.Is(err, errLastPart):
		return err
	}
	if _, err := io.Copy(io.Discard, f.body); !errors.Is(err, errEnded) {
		return f.explain(err)
	}
	return nil
}

// explain returns the failure for an error that occurred while a form was read. Its cause is that
// reading failed, that the body ended too early, or that the body is not multipart.
func (f *form) explain(err error) error {
	switch {
	case f.body.failed != nil:
		return f.body.failed
	case f.body.empty:
		return emptyBody(err)
	case f.read == 0 && !f.body.boundarySeen:
		return boundaryNotFound(err)
	case f.body.ended && !f.body.closed():
		return truncated(err)
	default:
		return malformedPart(err)
	}
}

// errEnded is returned instead of io.EOF at the end of a countedBody. If a body returned io.EOF,
// mime/multipart would return io.EOF after any boundary, although the body is truncated unless the
// boundary is the closing one. With errEnded, mime/multipart returns io.EOF only after the closing
// boundary. Before errEnded, a countedBody returns a line end, since the body may lack the line end
// after the closing boundary.
var errEnded = errors.New("the body has ended")

const lineEnd = "\r\n"

// countedBody is a body that limits the number of its bytes outside of the recording.
type countedBody struct {
	r          io.Reader
	hash       hash.Hash // hash of the whole body; nil if it is not needed
	left       int64     // bytes that may still arrive outside of the recording
	inEnvelope bool      // the next bytes are outside of the recording
	failed     error     // error of reading the body, except io.EOF
	ended      bool      // r has ended
	empty      bool      // r was empty
	tail       string    // text to return after the end of r

	boundary     []byte
	boundarySeen bool
	last         []byte // the last bytes that were read
}

// Read implements io.Reader.
func (b *countedBody) Read(p []byte) (int, error) {
	switch {
	case b.failed != nil:
		return 0, b.failed
	case b.ended && b.tail == "":
		return 0, errEnded
	case b.ended:
		n := copy(p, b.tail)
		b.tail = b.tail[n:]
		return n, nil
	case b.inEnvelope && b.left <= 0:
		b.failed = tooMuchBesideFile()
		return 0, b.failed
	case b.inEnvelope:
		p = p[:min(int64(len(p)), b.left)]
	}
	n, err := b.r.Read(p)
	if b.inEnvelope {
		b.left -= int64(n)
	}
	if b.hash != nil {
		b.hash.Write(p[:n])
	}
	b.findBoundary(p[:n])
	if errors.Is(err, io.EOF) {
		b.ended, b.tail, err = true, lineEnd, nil
		b.empty = b.left == envelopeSize
	}
	b.failed = err
	return n, err
}

// findBoundary sets boundarySeen when the bytes that were read contain the boundary. It keeps the
// last bytes, in which a boundary may begin and by which closed finds the closing boundary.
func (b *countedBody) findBoundary(p []byte) {
	keep := len(b.boundary) + len("--\r\n")
	if b.boundarySeen {
		p = p[max(0, len(p)-keep):]
	}
	b.last = append(b.last, p...)
	b.boundarySeen = b.boundarySeen || bytes.Contains(b.last, b.boundary)
	b.last = append(b.last[:0], b.last[max(0, len(b.last)-keep):]...)
}

// closed reports whether the last bytes are the closing boundary.
func (b *countedBody) closed() bool {
	return bytes.HasSuffix(bytes.TrimRight(b.last, "\r\n"), append(slices.Clone(b.boundary), "--"...))
}

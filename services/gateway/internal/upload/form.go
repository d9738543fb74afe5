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
)

// field is the name of the part that holds the recording.
const field = "file"

// envelopeSize bounds everything in a body but the recording: boundaries, part
// headers, other parts, what comes before the first and after the last. Without
// it one part's header could take 10 MiB of memory (mime/multipart's own limit).
const envelopeSize = 128 << 10

// charsetField is the part in which a form may name the charset of its text
// (RFC 7578, section 4.6).
const charsetField = "_charset_"

// The bounds of what a refusal tells of a form.
const (
	maxBoundary = 70 // RFC 2046, section 5.1.1
	maxNames    = 16 // of parts
)

// form is a multipart body, read from its beginning to its end.
type form struct {
	body    *meter
	parts   *multipart.Reader
	charset string // that the form's text is in, as far as it tells
	names   names  // of the parts that were skipped, the first of them
	read    int    // parts that have begun

	otherFile bool // a part of another name holds a file that is too large to be skipped
}

// newForm reads the boundary out of a request's Content-Type.
func newForm(r Request, digest bool) (*form, error) {
	boundary, charset, err := readType(r.ContentType)
	if err != nil {
		return nil, err
	}
	body := &meter{r: r.Body, spare: envelopeSize, outside: true, mark: []byte("--" + boundary)}
	if digest {
		body.hash = sha256.New()
	}
	return &form{body: body, parts: multipart.NewReader(body, boundary), charset: charset}, nil
}

// readType reads a Content-Type. It takes boundaries that the grammar allows
// only in quotes, like ===1616===, without them.
func readType(contentType string) (boundary, charset string, err error) {
	mediaType, rest := contentType, ""
	if i := strings.IndexAny(contentType, ";,"+blank); i >= 0 {
		mediaType, rest = contentType[:i], contentType[i:]
	}
	if !strings.EqualFold(mediaType, "multipart/form-data") {
		return "", "", notMultipart(shown(mediaType))
	}
	all := readParams(strings.TrimLeft(rest, ";,"+blank), "boundary", readings("boundary", "charset"))
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

// part is a part of a form: the one for the recording.
type part struct {
	*multipart.Part
	name     string // the file's, as sent
	encoding string // that its header claims, empty where the bytes are the file's
}

// file advances to the part that holds the recording.
func (f *form) file() (part, error) {
	p, d, err := f.next()
	if errors.Is(err, errLastPart) || f.otherFile {
		return part{}, noFile(f.names)
	}
	if err != nil {
		return part{}, err
	}
	f.body.outside = false
	found := part{Part: p, name: d.fileName(f.charset)}
	switch e := strings.ToLower(strings.TrimSpace(p.Header.Get("Content-Transfer-Encoding"))); e {
	case "", "binary", "7bit", "8bit":
	default:
		found.encoding = shown(e)
	}
	return found, nil
}

// errLastPart says that the closing boundary was read.
var errLastPart = errors.New("closing boundary")

// next skips to the next part named file.
func (f *form) next() (*multipart.Part, disposition, error) {
	f.body.outside = true
	for {
		// Raw: the recording is taken as it is, whatever transfer encoding its
		// header claims (RFC 7578, section 4.7 knows none).
		p, err := f.parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil, disposition{}, errLastPart
		}
		if err != nil {
			return nil, disposition{}, f.explain(err)
		}
		f.read++
		d := readDisposition(p.Header.Get("Content-Disposition"))
		name := d.name()
		if name == field {
			return p, d, nil
		}
		if err := f.skip(p, name); err != nil {
			f.otherFile = f.body.spare <= 0 && d.fileName(f.charset) != ""
			return nil, disposition{}, f.explain(err)
		}
	}
}

// skip reads a part that is not the recording.
func (f *form) skip(p *multipart.Part, name string) error {
	if len(f.names) < maxNames {
		f.names = append(f.names, shown(textIn(name, f.charset)))
	}
	if name == charsetField && f.charset == "" {
		label, err := io.ReadAll(io.LimitReader(p, maxShown))
		if err != nil {
			return err //nolint:wrapcheck // explain does
		}
		f.charset = string(label)
	}
	_, err := io.Copy(io.Discard, p)
	return err //nolint:wrapcheck // as above
}

// end reads on to the end of the body behind the recording. Until this succeeds
// nothing is known to be whole.
func (f *form) end() error {
	switch _, _, err := f.next(); {
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

// explain tells why a body could not be read: it failed, it ended too early, or
// it is no multipart body.
func (f *form) explain(err error) error {
	switch {
	case f.body.failed != nil:
		return f.body.failed
	case f.body.empty:
		return emptyBody(err)
	case f.read == 0 && !f.body.marked:
		return boundaryNotFound(err)
	case f.body.ended && !f.body.closed():
		return cutShort(err)
	default:
		return malformedPart(err)
	}
}

// errEnded is how a meter ends, after a line's end of its own. mime/multipart
// answers a body that ends behind a boundary with the same io.EOF as one that
// ends behind the closing boundary; it has no io.EOF of ours to do that with.
// The line's end makes up for the one that may be missing behind the latter.
var errEnded = errors.New("the body has ended")

const lineEnd = "\r\n"

// meter is a body whose bytes outside the recording are counted.
type meter struct {
	r       io.Reader
	hash    hash.Hash // of the whole body; nil where nobody asks
	spare   int64     // bytes that may yet come outside the recording
	outside bool
	failed  error  // what reading ended with, if not its end
	ended   bool   // r has
	empty   bool   // and there was nothing
	tail    string // what is to come after the end

	mark   []byte // the boundary
	marked bool   // it was seen
	last   []byte // the end of what was read
}

// Read implements io.Reader.
func (m *meter) Read(p []byte) (int, error) {
	switch {
	case m.failed != nil:
		return 0, m.failed
	case m.ended && m.tail == "":
		return 0, errEnded
	case m.ended:
		n := copy(p, m.tail)
		m.tail = m.tail[n:]
		return n, nil
	case m.outside && m.spare <= 0:
		m.failed = tooMuchBeside()
		return 0, m.failed
	case m.outside:
		p = p[:min(int64(len(p)), m.spare)]
	}
	n, err := m.r.Read(p)
	if m.outside {
		m.spare -= int64(n)
	}
	if m.hash != nil {
		m.hash.Write(p[:n])
	}
	m.look(p[:n])
	if errors.Is(err, io.EOF) {
		m.ended, m.tail, err = true, lineEnd, nil
		m.empty = m.spare == envelopeSize
	}
	m.failed = err
	return n, err
}

// look looks for the boundary until it was seen, and keeps the end of what was
// read: as much as a boundary may have begun in, and the closing one needs.
func (m *meter) look(p []byte) {
	keep := len(m.mark) + len("--\r\n")
	if m.marked {
		p = p[max(0, len(p)-keep):]
	}
	m.last = append(m.last, p...)
	m.marked = m.marked || bytes.Contains(m.last, m.mark)
	m.last = append(m.last[:0], m.last[max(0, len(m.last)-keep):]...)
}

// closed reports whether the body that was read ends with the closing boundary.
func (m *meter) closed() bool {
	return bytes.HasSuffix(bytes.TrimRight(m.last, "\r\n"), append(slices.Clone(m.mark), "--"...))
}

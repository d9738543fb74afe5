package upload

import (
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"mime"
	"mime/multipart"

	"sori.internal/shared/fault"
)

// field is the name of the part that holds the recording.
const field = "file"

// envelopeSize bounds everything in a body but the recording: boundaries, part
// headers, other parts, what comes before the first and after the last. Without
// it one part's header could take 10 MiB of memory (mime/multipart's own limit).
const envelopeSize = 128 << 10

// form is a multipart body, read from its beginning to its end.
type form struct {
	body  *meter
	parts *multipart.Reader
}

// newForm reads the boundary out of a request's Content-Type.
func newForm(r Request, digest bool) (*form, error) {
	mediaType, params, err := mime.ParseMediaType(r.ContentType)
	if mediaType != "multipart/form-data" {
		return nil, fault.New(fault.Unsupported, "not-multipart", "The request must be multipart/form-data with a part named file.")
	}
	// RFC 2046, section 5.1.1: 1 to 70 characters.
	if boundary := params["boundary"]; err != nil || boundary == "" || len(boundary) > 70 {
		return nil, malformed(errors.New("no usable boundary in the content type"))
	}
	body := &meter{r: r.Body, spare: envelopeSize, outside: true}
	if digest {
		body.hash = sha256.New()
	}
	return &form{body: body, parts: multipart.NewReader(body, params["boundary"])}, nil
}

// file advances to the part that holds the recording and returns its content
// and its file name.
func (f *form) file() (io.Reader, string, error) {
	part, err := f.next()
	if errors.Is(err, errLastPart) {
		return nil, "", fault.New(fault.Invalid, "file-missing", "The form has no part named file.")
	}
	if err != nil {
		return nil, "", err
	}
	f.body.outside = false
	return part, part.FileName(), nil
}

// errLastPart says that the closing boundary was read.
var errLastPart = errors.New("closing boundary")

// next skips to the next part named file.
func (f *form) next() (*multipart.Part, error) {
	f.body.outside = true
	for {
		// Raw: the recording is taken as it is, whatever transfer encoding its
		// header claims (RFC 7578, section 4.7 knows none).
		part, err := f.parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil, errLastPart
		}
		if err != nil {
			return nil, f.explain(err)
		}
		if part.FormName() == field {
			return part, nil
		}
		if _, err := io.Copy(io.Discard, part); err != nil {
			return nil, f.explain(err)
		}
	}
}

// end reads on to the end of the body behind the recording. Until this succeeds
// nothing is known to be whole.
func (f *form) end() error {
	switch _, err := f.next(); {
	case err == nil:
		return fault.New(fault.Invalid, "file-ambiguous", "The form has more than one part named file.")
	case !errors.Is(err, errLastPart):
		return err
	}
	if _, err := io.Copy(io.Discard, f.body); !errors.Is(err, errEnded) {
		return f.explain(err)
	}
	return nil
}

// explain tells a body that could not be read from one that was read and is no
// multipart body.
func (f *form) explain(err error) error {
	if f.body.failed != nil {
		return f.body.failed
	}
	return malformed(err)
}

func malformed(cause error) error {
	return fault.Wrap(fault.Invalid, "malformed-multipart", "The multipart body is malformed or ends before its closing boundary.", cause)
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
	tail    string // what is to come after the end
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
		m.failed = fault.New(fault.Invalid, "malformed-multipart", "The form holds too much beside the file.")
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
	if errors.Is(err, io.EOF) {
		m.ended, m.tail, err = true, lineEnd, nil
	}
	m.failed = err
	return n, err
}

package upload

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"hash"
	"io"

	"sori.internal/shared/fault"
	"sori.internal/shared/media"
)

// recording is the file of a form. Read returns io.EOF only after the whole request was read and
// checked, so bytes that were read up to io.EOF can be stored.
type recording struct {
	form      *form
	content   io.Reader
	limits    Limits
	declared  int64    // bytes of the whole body; 1 if its length is not declared
	digests   [][]byte // digests that the client sent in Content-Digest and Repr-Digest
	name      string
	mediaType string

	meter *media.Meter
	hash  hash.Hash
	size  int64
	err   error // error of the last read
}

// openRecording reads a form up to its file, and the head of the file. It refuses a file that is
// not audio, before anything is stored.
func openRecording(r Request, limits Limits) (*recording, error) {
	digests, err := r.digests()
	if err != nil {
		return nil, err
	}
	f, err := newForm(r, len(digests) > 0)
	if err != nil {
		return nil, err
	}
	content, err := f.file()
	if err != nil {
		return nil, err
	}
	head, err := readHead(content)
	if err != nil {
		return nil, f.explain(err)
	}
	if _, ok := media.Sniff(head); !ok && len(head) > 0 && content.encoding != "" {
		return nil, encodedFile(content.encoding)
	}
	mediaType, err := media.Recognize(head)
	if err != nil {
		return nil, err
	}
	return &recording{
		form: f, content: io.MultiReader(bytes.NewReader(head), content), limits: limits, declared: max(r.Length, 1), digests: digests,
		name: CleanName(content.name), mediaType: mediaType,
		meter: media.NewMeter(-1), hash: sha256.New(),
	}, nil
}

// readHead reads as many bytes as media.Sniff needs, or all bytes if there are fewer.
func readHead(content io.Reader) ([]byte, error) {
	head := make([]byte, media.HeadSize)
	for n := 0; ; {
		m, err := content.Read(head[n:])
		n += m
		if n == len(head) || errors.Is(err, io.EOF) {
			return head[:n], nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// Read implements io.Reader.
func (r *recording) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.content.Read(p)
	r.size += int64(n)
	if r.size > r.limits.MaxBytes {
		r.err = r.limits.tooLarge(max(r.size, r.declared-envelopeSize))
		return 0, r.err
	}
	r.hash.Write(p[:n])
	_, _ = r.meter.Write(p[:n]) // never fails
	switch {
	case errors.Is(err, io.EOF):
		if r.err = r.checkEnd(); r.err == nil {
			r.err = io.EOF
		}
	case err != nil:
		r.err = r.form.explain(err)
	}
	return n, r.err
}

// sum returns the SHA-256 of the bytes that were read, in hexadecimal.
func (r *recording) sum() string { return hex.EncodeToString(r.hash.Sum(nil)) }

// identify implements content.
func (r *recording) identify(*Core) (string, error) {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return "", err //nolint:wrapcheck // the caller wraps the error
	}
	return r.sum(), nil
}

// checkEnd makes the checks that are possible only at the end of the body.
func (r *recording) checkEnd() error {
	if err := r.form.end(); err != nil {
		return err
	}
	if err := media.CheckDecodable(r.meter.Info()); err != nil {
		return err
	}
	// By RFC 9530 a digest is the digest of the whole message content, which is the form. Some
	// clients hash the file alone; Repr-Digest has to be that of the file to find a cached result.
	for _, digest := range r.digests {
		if !digestMatches(digest, r.form.body.hash) && !digestMatches(digest, r.hash) {
			return fault.New(fault.Invalid, "digest-mismatch", "The body is not the one that Content-Digest or Repr-Digest announced.")
		}
	}
	return nil
}

func digestMatches(digest []byte, h hash.Hash) bool {
	return subtle.ConstantTimeCompare(digest, h.Sum(nil)) == 1
}

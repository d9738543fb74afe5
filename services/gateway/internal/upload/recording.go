package upload

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"sori.internal/shared/fault"
	"sori.internal/shared/media"
)

// recording is the file of a form, as a reader that ends only when the whole
// request was read and found good. Whoever stores what it reads may take its
// io.EOF for the word that this is to be kept.
type recording struct {
	form      *form
	content   io.Reader
	limit     int64
	digest    []byte // what the client announced; nil where it did not
	name      string
	mediaType string

	meter *media.Meter
	hash  hash.Hash
	size  int64
	err   error // what reading ended with
}

// open reads a form up to its file and the file's head. What is no audio is
// refused here, before anything is stored.
func open(r Request, limit int64) (*recording, error) {
	digest, err := announced(r.ContentDigest)
	if err != nil {
		return nil, err
	}
	f, err := newForm(r, digest != nil)
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
	if len(head) == 0 {
		return nil, fault.New(fault.Invalid, "empty-file", "The file is empty.")
	}
	mediaType, ok := media.Sniff(head)
	if !ok && content.encoding != "" {
		return nil, encodedFile(content.encoding)
	}
	if !ok {
		return nil, fault.New(fault.Unsupported, "unsupported-audio", "The file is not audio of a known format.")
	}
	if err := decodable(describe(head), false); err != nil {
		return nil, err
	}
	return &recording{
		form: f, content: io.MultiReader(bytes.NewReader(head), content), limit: limit, digest: digest,
		name: cleanName(content.name), mediaType: mediaType,
		meter: media.NewMeter(-1), hash: sha256.New(),
	}, nil
}

// readHead reads as much as the sniffer wants, or all where there is less.
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
	if r.size > r.limit {
		r.err = TooLarge(r.limit)
		return 0, r.err
	}
	r.hash.Write(p[:n])
	_, _ = r.meter.Write(p[:n]) // never fails
	switch {
	case errors.Is(err, io.EOF):
		if r.err = r.conclude(); r.err == nil {
			r.err = io.EOF
		}
	case err != nil:
		r.err = r.form.explain(err)
	}
	return n, r.err
}

// sum is the SHA-256 of what was read, in hexadecimal.
func (r *recording) sum() string { return hex.EncodeToString(r.hash.Sum(nil)) }

// conclude checks what is known only at the end of the body.
func (r *recording) conclude() error {
	if err := r.form.end(); err != nil {
		return err
	}
	if err := decodable(r.meter.Info(), true); err != nil {
		return err
	}
	if r.digest == nil {
		return nil
	}
	// RFC 9530 means the content of the message, which is the whole form. Clients
	// that hash their file and not the form they wrap it in mean as well.
	if same(r.digest, r.form.body.hash) || same(r.digest, r.hash) {
		return nil
	}
	return fault.New(fault.Invalid, "digest-mismatch", "The body is not the one that Content-Digest announced.")
}

func same(digest []byte, h hash.Hash) bool {
	return subtle.ConstantTimeCompare(digest, h.Sum(nil)) == 1
}

// describe is what the head of a recording tells of it.
func describe(head []byte) media.Info {
	meter := media.NewMeter(-1)
	_, _ = meter.Write(head) // never fails
	return meter.Info()
}

// decodable refuses a recording whose codec is known and cannot be decoded. Where whole is false more is to come: then what
// is no sound is no reason, since sound may stand behind it.
func decodable(info media.Info, whole bool) error {
	sound := info.Channels > 0
	if info.Codec == "" || media.Decodable(info.Codec) || !whole && !sound {
		return nil
	}
	return &fault.Error{
		Kind: fault.Unsupported, Code: "unsupported-codec", Extra: map[string]any{"codec": info.Codec},
		Detail: fmt.Sprintf("The file holds %s, which cannot be decoded as sound. "+
			"Usable are PCM, FLAC, ALAC, MP3, AAC, Opus, Vorbis, Speex, AMR, GSM and ADPCM.", info.Codec),
	}
}

// Package decode turns an audio file into interleaved float samples, block by block.
//
// It guarantees: the format is told by magic bytes, never by a name; memory does not grow with the length of the file; a file that ends
// before it should is an error and never a shorter recording; whatever the bytes are, the answer is samples or an error, not a panic. Channel roles are reported beside the samples, because loudness weighs them and every container orders them
// differently.
//
// Known: WAV and RF64 (PCM 8, 16, 24, 32 bit, float 32 and 64 bit, A-law, mu-law, WAVE_FORMAT_EXTENSIBLE), FLAC, MP3 (MPEG 1 and 2 layer
// III; of MPEG 2.5 the rates 11.025 and 12 kHz), Ogg Vorbis.
package decode

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// The two ways in which a file can be refused. Every error of this package that is not the reader's own wraps one of them.
var (
	// ErrUnsupported says that the file is of a kind that this package does not decode.
	ErrUnsupported = errors.New("unsupported audio")
	// ErrMalformed says that the file is of a known kind but broken or cut short.
	ErrMalformed = errors.New("malformed audio")
)

// Limits that keep a hostile header from deciding how much memory or time is spent.
const (
	maxChannels   = 32
	minSampleRate = 4000
	maxSampleRate = 768000
)

// Role says what a channel is for; ITU-R BS.1770-4 table 3 weighs by it.
type Role uint8

// The roles that loudness tells apart.
const (
	RoleFront    Role = iota // left, right, centre, mono: weight 1
	RoleSurround             // side and rear: weight 1.41
	RoleLFE                  // low frequency effects: left out
)

// Info describes a stream. It is known before the first sample is read.
type Info struct {
	Format     string // container: wav, rf64, flac, mp3, ogg
	Codec      string // what the samples were stored as, for example pcm_s16le, flac, mp3, vorbis
	SampleRate int    // frames per second
	Channels   int    // samples per frame
	Roles      []Role // one per channel, in the order of the samples
}

// sampler is what each decoder offers to Stream: interleaved samples, nominally in -1..1, and io.EOF after the last.
type sampler interface {
	read(p []float32) (int, error)
}

// Stream is one open file. It is not safe for concurrent use.
type Stream struct {
	info    Info
	sampler sampler
}

// Open detects the format of r, which holds size bytes, and prepares to decode it from its beginning.
func Open(r io.ReadSeeker, size int64) (s *Stream, err error) {
	defer recoverAs(&err, "open")
	head := make([]byte, 64)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read magic bytes: %w", err)
	}
	open := detect(head[:n])
	if open == nil {
		return nil, fmt.Errorf("detect format: %w", ErrUnsupported)
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("rewind: %w", err)
	}
	info, sampler, err := open(r, size)
	if err != nil {
		return nil, err
	}
	if err := check(info); err != nil {
		return nil, err
	}
	return &Stream{info: info, sampler: sampler}, nil
}

// Info tells what is being decoded.
func (s *Stream) Info() Info { return s.info }

// Read fills p with whole frames of interleaved samples and returns how many samples it wrote, a multiple of the channels. After the last
// frame it returns 0 and io.EOF. p must have room for one frame.
func (s *Stream) Read(p []float32) (n int, err error) {
	defer recoverAs(&err, s.info.Format)
	p = p[:len(p)/s.info.Channels*s.info.Channels]
	if len(p) == 0 {
		return 0, io.ErrShortBuffer
	}
	for n == 0 && err == nil {
		n, err = s.sampler.read(p)
	}
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil // said again by the next call
	}
	return n, err
}

type opener func(r io.ReadSeeker, size int64) (Info, sampler, error)

// detect chooses a decoder by the first bytes.
func detect(head []byte) opener {
	switch {
	case len(head) >= 12 && string(head[8:12]) == "WAVE" && (string(head[:4]) == "RIFF" || string(head[:4]) == "RF64"):
		return openWAV
	case bytes.HasPrefix(head, []byte("fLaC")):
		return openFLAC
	case bytes.HasPrefix(head, []byte("OggS")):
		if !bytes.Contains(head, []byte("\x01vorbis")) {
			return nil // Opus, Speex and others
		}
		return openVorbis
	case bytes.HasPrefix(head, []byte("ID3")), isMP3Sync(head):
		return openMP3
	}
	return nil
}

func check(info Info) error {
	if info.Channels < 1 || info.Channels > maxChannels {
		return fmt.Errorf("%s with %d channels: %w", info.Format, info.Channels, ErrMalformed)
	}
	if info.SampleRate < minSampleRate || info.SampleRate > maxSampleRate {
		return fmt.Errorf("%s with %d Hz: %w", info.Format, info.SampleRate, ErrMalformed)
	}
	return nil
}

// recoverAs turns a panic of a third party's decoder, which only broken input provokes, into an error. It is this package's one recover.
func recoverAs(err *error, what string) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("decode %s: %v: %w", what, p, ErrMalformed)
	}
}

// malformed marks a decoder's own error, keeping the text of the cause.
func malformed(what string, err error) error {
	if errors.Is(err, ErrMalformed) || errors.Is(err, ErrUnsupported) {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %w: %w", what, ErrMalformed, err)
}

// standardRoles gives the roles of n channels in the order that WAVE and FLAC use (front left, front right, centre, LFE, back, side).
func standardRoles(n int) []Role {
	roles := make([]Role, n)
	switch n {
	case 4:
		roles[2], roles[3] = RoleSurround, RoleSurround
	case 5:
		roles[3], roles[4] = RoleSurround, RoleSurround
	case 6, 7, 8:
		roles[3] = RoleLFE
		for i := 4; i < n; i++ {
			roles[i] = RoleSurround
		}
	}
	return roles
}

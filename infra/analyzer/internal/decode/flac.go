package decode

import (
	"errors"
	"fmt"
	"io"

	"github.com/mewkiz/flac"
	"github.com/mewkiz/flac/frame"
)

// flacStream hands out the frames of a FLAC file (RFC 9639).
type flacStream struct {
	stream *flac.Stream
	scale  float32
	ch     int
	total  uint64 // frames promised by STREAMINFO; 0 when unknown
	seen   uint64
	frame  *frame.Frame
	pos    int // next sample within frame
}

func openFLAC(r io.ReadSeeker, _ int64) (Info, sampler, error) {
	stream, err := flac.New(r)
	if err != nil {
		return Info{}, nil, malformed("read flac header", err)
	}
	si := stream.Info
	if si.BitsPerSample < 4 || si.BitsPerSample > 32 {
		return Info{}, nil, fmt.Errorf("flac with %d bits: %w", si.BitsPerSample, ErrMalformed)
	}
	ch := int(si.NChannels)
	info := Info{Format: "flac", Codec: "flac", SampleRate: int(si.SampleRate), Channels: ch, Roles: standardRoles(ch)}
	scale := 1 / float32(uint64(1)<<(si.BitsPerSample-1))
	return info, &flacStream{stream: stream, scale: scale, ch: ch, total: si.NSamples}, nil
}

func (f *flacStream) read(p []float32) (int, error) {
	if f.frame == nil || f.pos == int(f.frame.BlockSize) {
		if err := f.next(); err != nil {
			return 0, err
		}
	}
	count := min(len(p)/f.ch, int(f.frame.BlockSize)-f.pos)
	for c, sub := range f.frame.Subframes {
		for i, v := range sub.Samples[f.pos : f.pos+count] {
			p[i*f.ch+c] = float32(v) * f.scale
		}
	}
	f.pos += count
	return count * f.ch, nil
}

// next decodes one frame; the library verifies its CRC. The end counts only where STREAMINFO's total was reached.
func (f *flacStream) next() error {
	fr, err := f.stream.ParseNext()
	if errors.Is(err, io.EOF) {
		if f.seen < f.total {
			return fmt.Errorf("flac ends after %d of %d frames: %w", f.seen, f.total, ErrMalformed)
		}
		return io.EOF
	}
	if err != nil {
		return malformed("read flac frame", err)
	}
	if len(fr.Subframes) != f.ch {
		return fmt.Errorf("flac frame with %d channels instead of %d: %w", len(fr.Subframes), f.ch, ErrMalformed)
	}
	f.frame, f.pos = fr, 0
	f.seen += uint64(fr.BlockSize)
	return nil
}

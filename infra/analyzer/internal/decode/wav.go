package decode

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"sori.internal/shared/decoding"
)

// Format tags of the fmt chunk (Microsoft, "Multiple channel audio data and WAVE files", 2001).
const (
	wavePCM        = 0x0001
	waveFloat      = 0x0003
	waveExtensible = 0xfffe
)

// pcm reads the samples of a plain WAV file. A WAV file is plain if its chunks fit into the file, and if the samples
// are PCM in a format that is complete, consistent and supported here. Most recordings are plain WAV files, and
// starting a process costs more than reading them. All other WAV files are decoded by ffmpeg.
type pcm struct {
	file    *os.File
	r       *bufio.Reader
	left    int64 // bytes of samples that are not read yet
	width   int   // bytes per sample
	convert func(b []byte) float32
	buf     []byte
}

// openPCM opens a plain WAV file (see pcm). For any other file it returns a nil sampler and no error.
func openPCM(path string) (Info, sampler, error) {
	file, err := os.Open(path)
	if err != nil {
		return Info{}, nil, fmt.Errorf("open the recording: %w", err)
	}
	info, p := plainWAV(file)
	if p == nil {
		return Info{}, nil, file.Close()
	}
	return info, p, nil
}

// IsPlain reports whether a file is a plain WAV file, which needs no decoder: complete, consistent, and with PCM
// samples in a supported format.
func IsPlain(path string) (bool, error) {
	_, p, err := openPCM(path)
	if p == nil || err != nil {
		return false, err
	}
	p.close()
	return true, nil
}

// plainWAV reads the chunks up to the samples. p is nil if the file is not a plain WAV file (see pcm).
func plainWAV(file *os.File) (info Info, p *pcm) {
	size, err := file.Seek(0, io.SeekEnd)
	head := make([]byte, 12)
	if _, readErr := file.ReadAt(head, 0); err != nil || readErr != nil || string(head[:4]) != "RIFF" || string(head[8:]) != "WAVE" {
		return info, nil
	}
	for at := int64(12); at+8 <= size; {
		if _, err := file.ReadAt(head[:8], at); err != nil {
			return info, nil
		}
		id, length := string(head[:4]), int64(binary.LittleEndian.Uint32(head[4:]))
		if at += 8; length > size-at {
			return info, nil
		}
		switch {
		case id == "fmt " && p == nil:
			format := make([]byte, min(length, 40))
			if _, err := file.ReadAt(format, at); err != nil {
				return info, nil
			}
			if info, p = plainFormat(format); p == nil {
				return info, nil
			}
		case id == "data" && p != nil && length > 0 && length%int64(p.width*info.Channels) == 0:
			info.Seconds = float64(length) / float64(p.width*info.Channels*info.SampleRate)
			p.file, p.left, p.r = file, length, bufio.NewReaderSize(io.NewSectionReader(file, at, length), 1<<16)
			return info, p
		case id == "data" || id == "fmt ":
			return info, nil
		}
		at += length + length&1 // chunks are padded to even lengths
	}
	return info, nil
}

// plainFormat parses a fmt chunk. p is nil if the format is not complete, consistent and supported here.
func plainFormat(b []byte) (info Info, p *pcm) {
	if len(b) < 16 {
		return info, nil
	}
	le := binary.LittleEndian
	tag, bits, mask := le.Uint16(b), int(le.Uint16(b[14:])), uint32(0)
	if tag == waveExtensible {
		if len(b) < 40 || int(le.Uint16(b[18:])) != bits {
			return info, nil
		}
		mask, tag = le.Uint32(b[20:]), le.Uint16(b[24:]) // the GUID of the sub-format begins with the format tag
	}
	h := decoding.Header{SampleRate: int(le.Uint32(b[4:])), Channels: int(le.Uint16(b[2:])), Mask: mask}
	convert, codec := plainSample(tag, bits)
	if convert == nil || h.Check() != nil || int(le.Uint16(b[12:])) != h.Channels*bits/8 {
		return info, nil
	}
	info = Info{Format: "wav", Codec: codec, SampleRate: h.SampleRate, Channels: h.Channels, Roles: roles(h.Channels, mask)}
	return info, &pcm{width: bits / 8, convert: convert}
}

// plainSample returns the function that converts one little-endian sample, and the name of the codec. The function is
// nil if the format is not supported here.
func plainSample(tag uint16, bits int) (func([]byte) float32, string) {
	le := binary.LittleEndian
	switch {
	case tag == wavePCM && bits == 8:
		return func(b []byte) float32 { return (float32(b[0]) - 128) / 128 }, "pcm_u8"
	case tag == wavePCM && bits == 16:
		return func(b []byte) float32 { return float32(int16(le.Uint16(b))) / (1 << 15) }, "pcm_s16le" // int16 keeps the sign
	case tag == wavePCM && bits == 24:
		return func(b []byte) float32 {
			return float32(int32(uint32(b[0])<<8|uint32(b[1])<<16|uint32(b[2])<<24)) / (1 << 31) // int32 keeps the sign
		}, "pcm_s24le"
	case tag == wavePCM && bits == 32:
		return func(b []byte) float32 { return float32(int32(le.Uint32(b))) / (1 << 31) }, "pcm_s32le" // int32 keeps the sign
	case tag == waveFloat && bits == 32:
		return func(b []byte) float32 { return math.Float32frombits(le.Uint32(b)) }, "pcm_f32le"
	}
	return nil, ""
}

// read implements sampler.
func (p *pcm) read(samples []float32) (int, error) {
	want := min(int64(len(samples)*p.width), p.left)
	if want == 0 {
		return 0, io.EOF
	}
	if int64(cap(p.buf)) < want {
		p.buf = make([]byte, want)
	}
	b := p.buf[:want]
	if _, err := io.ReadFull(p.r, b); err != nil {
		return 0, fmt.Errorf("read the recording: %w", errors.Join(err, errChanged))
	}
	p.left -= want
	n := 0
	for ; len(b) >= p.width; b = b[p.width:] {
		samples[n] = p.convert(b)
		n++
	}
	return n, nil
}

// errChanged means that a file became shorter while it was read.
var errChanged = errors.New("file changed")

// close implements sampler.
func (p *pcm) close() decoding.End {
	_ = p.file.Close() // an error is irrelevant after reading
	return decoding.End{}
}

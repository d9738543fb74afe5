package decode

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// Format tags of the fmt chunk (Microsoft, "Multiple channel audio data and WAVE files", 2001).
const (
	wavePCM        = 0x0001
	waveFloat      = 0x0003
	waveALaw       = 0x0006
	waveMuLaw      = 0x0007
	waveExtensible = 0xfffe
)

// wavFormat is the fmt chunk as far as decoding needs it.
type wavFormat struct {
	tag, channels, bits, block int
	rate                       int
	mask                       uint32
}

// wav reads the data chunk.
type wav struct {
	r       *bufio.Reader
	left    int64 // bytes of the data chunk; negative when the header does not know
	block   int
	width   int // bytes per sample
	ch      int
	convert func(b []byte) float32
	buf     []byte
}

// openWAV reads the chunks up to the data chunk. RF64 (EBU Tech 3306) differs in keeping 64-bit sizes in a ds64 chunk.
func openWAV(r io.ReadSeeker, size int64) (Info, sampler, error) {
	head := make([]byte, 12)
	if _, err := io.ReadFull(r, head); err != nil {
		return Info{}, nil, malformed("read wav header", err)
	}
	info := Info{Format: "wav"}
	if string(head[:4]) == "RF64" {
		info.Format = "rf64"
	}
	format, data, err := wavChunks(r, size)
	if err != nil {
		return Info{}, nil, err
	}
	convert, codec, err := wavConverter(format)
	if err != nil {
		return Info{}, nil, err
	}
	info.Codec, info.SampleRate, info.Channels, info.Roles = codec, format.rate, format.channels, wavRoles(format)
	w := &wav{r: bufio.NewReaderSize(r, 1<<16), left: data, block: format.block, width: format.bits / 8, ch: format.channels, convert: convert}
	return info, w, nil
}

// wavChunks walks to the data chunk and returns its length in bytes, negative where a streaming writer could not know it.
func wavChunks(r io.ReadSeeker, size int64) (f wavFormat, data int64, err error) {
	long := int64(-1) // the ds64 data size
	pos := int64(12)
	head := make([]byte, 8)
	for {
		if _, err := io.ReadFull(r, head); err != nil {
			return f, 0, malformed("find wav data chunk", err)
		}
		pos += 8
		id, length := string(head[:4]), int64(binary.LittleEndian.Uint32(head[4:]))
		if id == "data" {
			if f.channels == 0 {
				return f, 0, fmt.Errorf("wav data before its format: %w", ErrMalformed)
			}
			return f, dataLength(length, long, size-pos), nil
		}
		if length > size-pos {
			return f, 0, fmt.Errorf("wav chunk past the end: %w", ErrMalformed)
		}
		body := make([]byte, min(length, 40))
		if _, err := io.ReadFull(r, body); err != nil {
			return f, 0, malformed("read wav chunk", err)
		}
		switch {
		case id == "fmt ":
			if f, err = parseWAVFormat(body); err != nil {
				return f, 0, err
			}
		case id == "ds64" && len(body) >= 16:
			long = int64(binary.LittleEndian.Uint64(body[8:])) // a negative length is treated as unknown
		}
		pos += length + length&1 // chunks are padded to even lengths
		if _, err := r.Seek(pos, io.SeekStart); err != nil {
			return f, 0, fmt.Errorf("skip wav chunk: %w", err)
		}
	}
}

// dataLength settles how many bytes the data chunk has. Writers to a pipe leave 0 (with bytes following), 0x7fffffff.. or 0xffffffff;
// then it reaches to the end of the file, which is -1 here.
func dataLength(length, long, rest int64) int64 {
	switch {
	case length == math.MaxUint32 && long > 0:
		return long
	case length >= 0x7ffff000 && length > rest, length == 0 && rest > 1:
		return -1
	}
	return length
}

func parseWAVFormat(b []byte) (wavFormat, error) {
	if len(b) < 16 {
		return wavFormat{}, fmt.Errorf("wav format chunk of %d bytes: %w", len(b), ErrMalformed)
	}
	le := binary.LittleEndian
	f := wavFormat{
		tag: int(le.Uint16(b)), channels: int(le.Uint16(b[2:])), rate: int(le.Uint32(b[4:])),
		block: int(le.Uint16(b[12:])), bits: int(le.Uint16(b[14:])),
	}
	if f.tag == waveExtensible {
		if len(b) < 26 {
			return f, fmt.Errorf("wav extensible format of %d bytes: %w", len(b), ErrMalformed)
		}
		f.mask, f.tag = le.Uint32(b[20:]), int(le.Uint16(b[24:])) // the sub-format GUID begins with the tag
	}
	f.bits = (f.bits + 7) / 8 * 8 // 12 bits are stored left-aligned in 16, and so on
	if f.channels == 0 || f.channels > maxChannels || f.block != f.channels*f.bits/8 {
		return f, fmt.Errorf("wav with %d channels in blocks of %d bytes: %w", f.channels, f.block, ErrMalformed)
	}
	return f, nil
}

// wavRoles uses the speaker mask where there is one: bit 3 is the LFE, bits 4, 5, 8 to 10 are behind or beside the listener.
func wavRoles(f wavFormat) []Role {
	roles := standardRoles(f.channels)
	if f.mask == 0 || f.channels <= 2 {
		return roles
	}
	i := 0
	for bit := 0; bit < 18 && i < f.channels; bit++ {
		if f.mask&(1<<bit) == 0 {
			continue
		}
		switch bit {
		case 3:
			roles[i] = RoleLFE
		case 4, 5, 8, 9, 10:
			roles[i] = RoleSurround
		default:
			roles[i] = RoleFront
		}
		i++
	}
	return roles
}

// wavConverter gives the function that reads one little-endian sample, and the codec's name.
func wavConverter(f wavFormat) (func([]byte) float32, string, error) {
	le := binary.LittleEndian
	switch [2]int{f.tag, f.bits} {
	case [2]int{wavePCM, 8}:
		return func(b []byte) float32 { return (float32(b[0]) - 128) / 128 }, "pcm_u8", nil
	case [2]int{wavePCM, 16}:
		return func(b []byte) float32 { return float32(int16(le.Uint16(b))) / (1 << 15) }, "pcm_s16le", nil // sign is meant
	case [2]int{wavePCM, 24}:
		return func(b []byte) float32 {
			return float32(int32(uint32(b[0])<<8|uint32(b[1])<<16|uint32(b[2])<<24)) / (1 << 31) // sign is meant
		}, "pcm_s24le", nil
	case [2]int{wavePCM, 32}:
		return func(b []byte) float32 { return float32(int32(le.Uint32(b))) / (1 << 31) }, "pcm_s32le", nil // sign is meant
	case [2]int{waveFloat, 32}:
		return func(b []byte) float32 { return math.Float32frombits(le.Uint32(b)) }, "pcm_f32le", nil
	case [2]int{waveFloat, 64}:
		return func(b []byte) float32 { return float32(math.Float64frombits(le.Uint64(b))) }, "pcm_f64le", nil
	case [2]int{waveALaw, 8}:
		return func(b []byte) float32 { return aLaw(b[0]) }, "pcm_alaw", nil
	case [2]int{waveMuLaw, 8}:
		return func(b []byte) float32 { return muLaw(b[0]) }, "pcm_mulaw", nil
	}
	return nil, "", fmt.Errorf("wav format %#x with %d bits: %w", f.tag, f.bits, ErrUnsupported)
}

// aLaw expands one byte of ITU-T G.711 A-law, table 1a.
func aLaw(b byte) float32 {
	b ^= 0x55
	v, exp := int(b&0x0f)<<4+8, b>>4&7
	if exp > 0 {
		v = (v + 0x100) << (exp - 1)
	}
	if b&0x80 == 0 {
		v = -v
	}
	return float32(v) / (1 << 15)
}

// muLaw expands one byte of ITU-T G.711 mu-law, table 2a.
func muLaw(b byte) float32 {
	b = ^b
	v := (int(b&0x0f)<<3+0x84)<<(b>>4&7) - 0x84
	if b&0x80 != 0 {
		v = -v
	}
	return float32(v) / (1 << 15)
}

func (w *wav) read(p []float32) (int, error) {
	want := len(p) / w.ch * w.block
	if w.left >= 0 {
		want = int(min(int64(want), w.left/int64(w.block)*int64(w.block)))
	}
	if want == 0 {
		return 0, io.EOF // a rest smaller than a frame is padding
	}
	if cap(w.buf) < want {
		w.buf = make([]byte, want)
	}
	n, err := io.ReadFull(w.r, w.buf[:want])
	switch {
	case err == nil:
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		if w.left >= 0 {
			return 0, malformed("read wav data", io.ErrUnexpectedEOF)
		}
		if n -= n % w.block; n == 0 {
			return 0, io.EOF
		}
	default:
		return 0, fmt.Errorf("read wav data: %w", err)
	}
	if w.left >= 0 {
		w.left -= int64(n)
	}
	return w.decode(p, w.buf[:n])
}

func (w *wav) decode(p []float32, b []byte) (int, error) {
	n := 0
	for ; len(b) >= w.width; b = b[w.width:] {
		v := w.convert(b)
		if v != v || v > math.MaxInt32 || v < -math.MaxInt32 { // NaN and infinities would spoil every sum
			return 0, fmt.Errorf("wav sample that is no number: %w", ErrMalformed)
		}
		p[n] = v
		n++
	}
	return n, nil
}

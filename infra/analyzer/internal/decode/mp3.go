package decode

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/hajimehoshi/go-mp3"
)

// mp3Stream hands out the samples of an MP3 file: every audio frame from the first to the last, without trimming the encoder's delay and
// padding, as the usual tools count it. A Xing or Info frame holds no audio and is left out.
type mp3Stream struct {
	dec    *mp3.Decoder
	frames *mp3Frames
	ch     int
	buf    []byte
}

func openMP3(r io.ReadSeeker, _ int64) (Info, sampler, error) {
	if err := skipID3(r); err != nil {
		return Info{}, nil, err
	}
	frames := &mp3Frames{r: bufio.NewReaderSize(r, 1<<16)}
	if err := frames.start(); err != nil {
		return Info{}, nil, err
	}
	first := frames.first
	dec, err := mp3.NewDecoder(frames)
	if err != nil {
		return Info{}, nil, frames.explain(err)
	}
	ch := first.channels()
	info := Info{Format: "mp3", Codec: "mp3", SampleRate: first.rate(), Channels: ch, Roles: standardRoles(ch)}
	return info, &mp3Stream{dec: dec, frames: frames, ch: ch}, nil
}

// read relies on the library always giving 16-bit stereo, whatever the file holds.
func (m *mp3Stream) read(p []float32) (int, error) {
	want := len(p) / m.ch * 4
	if cap(m.buf) < want {
		m.buf = make([]byte, want)
	}
	n, err := io.ReadFull(m.dec, m.buf[:want])
	n -= n % 4
	if n == 0 {
		return 0, m.frames.explain(err)
	}
	out := 0
	for b := m.buf[:n]; len(b) >= 4; b = b[4:] {
		for c := range m.ch {
			p[out] = float32(int16(binary.LittleEndian.Uint16(b[2*c:]))) / (1 << 15) // sign is meant
			out++
		}
	}
	return out, nil
}

// skipID3 jumps over ID3v2 tags (id3.org, "ID3 tag version 2.4.0", section 3.1), so that a hostile size costs a seek and no memory.
func skipID3(r io.ReadSeeker) error {
	head := make([]byte, 10)
	pos := int64(0)
	for {
		_, err := io.ReadFull(r, head)
		if err == nil && string(head[:3]) == "ID3" {
			pos += 10 + int64(head[6]&0x7f)<<21 | int64(head[7]&0x7f)<<14 | int64(head[8]&0x7f)<<7 | int64(head[9]&0x7f)
			if head[5]&0x10 != 0 {
				pos += 10 // a footer
			}
		}
		if _, serr := r.Seek(pos, io.SeekStart); serr != nil {
			return fmt.Errorf("skip id3 tag: %w", serr)
		}
		if err != nil || string(head[:3]) != "ID3" {
			return nil //nolint:nilerr // what is wrong with it shows when frames are looked for
		}
	}
}

// mp3Header is the four bytes that begin a frame (ISO/IEC 11172-3 section 2.4.1.3, ISO/IEC 13818-3 section 2.4.2.3).
type mp3Header uint32

const (
	mpeg25 = 0
	mpeg2  = 2
	mpeg1  = 3
)

// sameStream covers sync, version, layer and sampling frequency, which do not change within a file.
const sameStream = 0xfffe0c00

// Tables of the standards: Hz, and kbit/s of layer III in MPEG 1 and below.
var (
	mp3Rates      = [3]int{44100, 48000, 32000}
	mp3BitratesV1 = [15]int{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320}
	mp3BitratesV2 = [15]int{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160}
)

func (h mp3Header) version() int { return int(h >> 19 & 3) }
func (h mp3Header) hasCRC() bool { return h>>16&1 == 0 }

// rate is the sampling frequency: MPEG 2 halves that of MPEG 1, MPEG 2.5 halves it again.
func (h mp3Header) rate() int {
	switch h.version() {
	case mpeg2:
		return mp3Rates[h>>10&3] / 2
	case mpeg25:
		return mp3Rates[h>>10&3] / 4
	}
	return mp3Rates[h>>10&3]
}

func (h mp3Header) channels() int {
	if h>>6&3 == 3 {
		return 1
	}
	return 2
}

// valid accepts layer III with a defined version, bitrate (free format is not supported) and rate.
func (h mp3Header) valid() bool {
	return h>>21 == 0x7ff && h.version() != 1 && h>>17&3 == 1 && h>>12&15 != 0 && h>>12&15 != 15 && h>>10&3 != 3 && h&3 != 2
}

// size is the length of the frame in bytes: 144 (72 below MPEG 1) times bitrate over sampling frequency, plus the padding.
func (h mp3Header) size() int {
	padding := int(h >> 9 & 1)
	if h.version() == mpeg1 {
		return 144000*mp3BitratesV1[h>>12&15]/h.rate() + padding
	}
	return 72000*mp3BitratesV2[h>>12&15]/h.rate() + padding
}

// sideInfo is the length of the side information in bytes.
func (h mp3Header) sideInfo() int {
	switch {
	case h.version() == mpeg1 && h.channels() == 2:
		return 32
	case h.version() == mpeg1 || h.channels() == 2:
		return 17
	}
	return 9
}

func isMP3Sync(head []byte) bool {
	return len(head) >= 4 && mp3Header(binary.BigEndian.Uint32(head)).valid()
}

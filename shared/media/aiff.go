package media

import (
	"encoding/binary"
	"math"
)

// aiff reads AIFF 1.3 and AIFF-C (Apple, "Audio Interchange File Format"). The common chunk states
// the number of sample frames, the sound data chunk the number of bytes. The chunks may come in any
// order.
type aiff struct {
	compressed bool   // the file is AIFF-C: its common chunk names a coding
	coding     string // name of the coding; empty until the common chunk was read
	frames     uint32
	channels   int
	bits       int // bits per sample
	rate       float64
	soundAt    int64  // byte at which the sound begins; 0 until the sound data chunk was found
	soundSize  uint32 // size of the sound data chunk
	trailing   bool   // a tag follows the chunks
}

func (a *aiff) step(off int64, b []byte) (int64, int) {
	if off == 0 {
		form := string(b[8:12])
		a.compressed = form == "AIFC"
		if !a.compressed && form != "AIFF" {
			return stop()
		}
		return 12, 8
	}
	size := int64(binary.BigEndian.Uint32(b[4:]))
	if trailer(b) {
		a.trailing = true
		return stop()
	}
	switch string(b[:4]) {
	case "SSND":
		if a.soundAt == 0 {
			a.soundAt, a.soundSize = off+16, uint32(size) // the sound follows an offset and a block size, which have 4 bytes each
		}
	case "COMM":
		need := 8 + 18
		if a.compressed {
			need += 4
		}
		if size < int64(need-8) {
			return stop()
		}
		if len(b) < need {
			return off, need
		}
		a.common(b[8:])
	}
	return off + 8 + size + size&1, 8
}

func (a *aiff) common(b []byte) {
	a.channels, a.bits = int(binary.BigEndian.Uint16(b)), int(binary.BigEndian.Uint16(b[6:]))
	a.frames, a.rate, a.coding = binary.BigEndian.Uint32(b[2:]), extended(b[8:18]), "NONE"
	if a.compressed {
		a.coding = string(b[18:22])
	}
}

// block returns the size in bytes of a block of a codec, and its samples per channel. The size is 0
// if it is not fixed.
func (a *aiff) block(codec string) (size, samples int64) {
	channels := int64(a.channels)
	switch codec {
	case "adpcm_ima_qt":
		return 34 * channels, 64
	case "mace3":
		return 2 * channels, 6
	case "mace6":
		return channels, 6
	case "gsm":
		return 33, 160
	}
	return int64(pcmBytes(codec)) * channels, 1
}

func (a *aiff) describe(info *Info, size int64, _ []byte) {
	info.SampleRate, info.Channels = int(a.rate), a.channels
	if a.coding == "" {
		return
	}
	info.Codec = appleCodec(a.coding, a.bits)
	if a.soundAt == 0 || a.soundAt > size || a.rate == 0 || a.channels == 0 {
		return
	}
	data := size - a.soundAt
	switch told := int64(a.soundSize) - 8; {
	case told <= 0 || told >= leastStreamed: // the writer never filled in the size
	case told < data:
		data = told
	case told > data:
		info.warn(Truncated)
	}
	if a.trailing {
		info.warn(TrailingData)
	}
	block, samples := a.block(info.Codec)
	if block == 0 {
		return
	}
	info.play(float64(data/block)*float64(samples), a.rate)
}

// extended reads an 80-bit floating point number (IEEE 754, double-extended; AIFF 1.3, "Data
// Types").
func extended(b []byte) float64 {
	exponent, mantissa := binary.BigEndian.Uint16(b), binary.BigEndian.Uint64(b[2:])
	if exponent >= 0x7FFF { // negative, infinite or not a number
		return 0
	}
	return math.Ldexp(float64(mantissa), int(exponent)-16383-63)
}

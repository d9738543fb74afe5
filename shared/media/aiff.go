package media

import (
	"encoding/binary"
	"math"
)

// aiff reads AIFF 1.3 and AIFF-C (Apple, "Audio Interchange File Format"): the common chunk tells how many sample frames there are, the
// sound data chunk how many bytes. The two may come in any order.
type aiff struct {
	compressed bool // AIFF-C: the common chunk names a coding
	frames     uint32
	frameBits  int // 0: the coding's frames have no fixed size
	perFrame   int // samples a channel in what the common chunk counts
	rate       float64
	soundAt    int64 // 0 until the sound was found
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
	switch string(b[:4]) {
	case "SSND":
		a.soundAt = off + 16 // the data follows an offset and a block size, of 4 bytes each
		if a.rate != 0 {
			return stop()
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
		if a.soundAt != 0 {
			return stop()
		}
	}
	return off + 8 + size + size&1, 8
}

func (a *aiff) common(b []byte) {
	channels, bits := int(binary.BigEndian.Uint16(b)), (int(binary.BigEndian.Uint16(b[6:]))+7)&^7
	a.frames, a.rate, a.perFrame = binary.BigEndian.Uint32(b[2:]), extended(b[8:18]), 1
	if !a.compressed {
		a.frameBits = channels * bits
		return
	}
	switch string(b[18:22]) {
	case "NONE", "twos", "sowt", "raw ", "in24", "in32", "fl32", "FL32", "fl64", "FL64":
		a.frameBits = channels * bits
	case "ulaw", "ULAW", "alaw", "ALAW":
		a.frameBits = channels * 8
	case "ima4": // counts packets, of 34 bytes and 64 samples
		a.frameBits, a.perFrame = channels*34*8, 64
	default:
		a.rate = 0
	}
}

func (a *aiff) seconds(size int64) float64 {
	if a.soundAt == 0 || a.soundAt > size || a.rate == 0 || a.frameBits == 0 {
		return 0
	}
	// A writer that cannot seek back claims more frames than any file has: those that came count.
	frames := min(int64(a.frames), (size-a.soundAt)*8/int64(a.frameBits))
	return float64(frames) * float64(a.perFrame) / a.rate
}

// extended reads an 80-bit floating point number (IEEE 754, double-extended; AIFF 1.3, "Data Types").
func extended(b []byte) float64 {
	exponent, mantissa := binary.BigEndian.Uint16(b), binary.BigEndian.Uint64(b[2:])
	if exponent >= 0x7FFF { // negative, infinite or not a number
		return 0
	}
	return math.Ldexp(float64(mantissa), int(exponent)-16383-63)
}

func (a *aiff) describe(info *Info) { info.SampleRate = int(a.rate) }

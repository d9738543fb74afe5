package media

import (
	"encoding/binary"
	"fmt"
	"math"
)

// caf reads Apple's Core Audio Format 1.0: the description's packets of a fixed size are counted from the data chunk; for all others the
// packet table tells how many frames are valid.
type caf struct {
	rate        float64 // sample frames a second
	packetBytes uint32  // 0: not fixed
	packetSpan  uint32  // sample frames in a packet; 0: not fixed
	format      string  // empty until the description was found
	flags       uint32
	channels    uint32
	bits        uint32 // of a sample
	trailing    bool   // a tag stands at the end
	valid       int64  // sample frames, from the packet table
	added       int64  // sample frames in front of those and behind
	dataAt      int64  // 0 until the data chunk was found
	dataSize    int64  // negative: up to the end
}

func (c *caf) step(off int64, b []byte) (int64, int) {
	if off == 0 {
		if string(b[:8]) != "caff\x00\x01\x00\x00" {
			return stop()
		}
		return 8, 12
	}
	const header = 12
	size, need := int64(binary.BigEndian.Uint64(b[4:])), int64(0)
	id := string(b[:4])
	if trailer(b) {
		c.trailing = true
		return stop()
	}
	switch id {
	case "desc":
		need = 32
	case "pakt":
		need = 24
	case "data":
		c.dataAt, c.dataSize = off+header+4, size-4 // after the count of edits
		if size < 0 {
			return stop()
		}
	}
	if size < need || size >= pastEnd {
		return stop()
	}
	if len(b) < header+int(need) {
		return off, header + int(need)
	}
	switch body := b[header:]; id {
	case "desc":
		c.rate = math.Float64frombits(binary.BigEndian.Uint64(body))
		c.format, c.flags = string(body[8:12]), binary.BigEndian.Uint32(body[12:])
		c.channels, c.bits = binary.BigEndian.Uint32(body[24:]), binary.BigEndian.Uint32(body[28:])
		c.packetBytes, c.packetSpan = binary.BigEndian.Uint32(body[16:]), binary.BigEndian.Uint32(body[20:])
	case "pakt":
		c.valid = int64(binary.BigEndian.Uint64(body[8:]))
		c.added = int64(binary.BigEndian.Uint32(body[16:])) + int64(binary.BigEndian.Uint32(body[20:]))
	}
	return off + header + size, header
}

// codec is the coding's name (Core Audio's format identifiers).
func (c *caf) codec() string {
	if c.format != "lpcm" {
		return appleCodec(c.format, int(c.bits))
	}
	const float, little = 1, 2 // flags
	kind, order, bits := "s", "be", (c.bits+7)&^7
	if c.flags&float != 0 {
		kind = "f"
	}
	if c.flags&little != 0 {
		order = "le"
	}
	if bits == 8 {
		return "pcm_s8"
	}
	return fmt.Sprintf("pcm_%s%d%s", kind, bits, order)
}

func (c *caf) describe(info *Info, size int64, _ []byte) {
	info.SampleRate, info.Channels = int(c.rate), int(c.channels)
	if c.format == "" {
		return
	}
	info.Codec = c.codec()
	if c.valid < 0 || c.valid > pastEnd || c.rate == 0 || c.dataAt == 0 || c.dataAt > size {
		return
	}
	data := size - c.dataAt
	if c.dataSize >= 0 && c.dataSize < data {
		data = c.dataSize
	} else if c.dataSize > data {
		info.warn(Truncated)
	}
	if c.trailing {
		info.warn(TrailingData)
	}
	if c.packetBytes != 0 {
		info.play(float64(data/int64(c.packetBytes))*float64(c.packetSpan), c.rate)
		return
	}
	if all := c.valid + c.added; info.Codec != "alac" { // decoders play what encoders add too
		info.play(float64(all), c.rate)
	} else if all%int64(max(c.packetSpan, 1)) != 0 || c.added != 0 { // else its last packet may be shorter than told
		info.play(float64(c.valid), c.rate)
	}
}

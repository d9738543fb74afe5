package media

import (
	"encoding/binary"
	"math"
)

// caf reads Apple's Core Audio Format 1.0: the description's packets of a fixed size are counted from the data chunk; for all others the
// packet table tells how many frames are valid.
type caf struct {
	rate        float64 // sample frames a second
	packetBytes uint32  // 0: not fixed
	packetSpan  uint32  // sample frames in a packet; 0: not fixed
	valid       int64   // sample frames, from the packet table
	dataAt      int64   // 0 until the data chunk was found
	dataSize    int64   // negative: up to the end
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
	switch id {
	case "desc":
		need = 24
	case "pakt":
		need = 16
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
		c.packetBytes, c.packetSpan = binary.BigEndian.Uint32(body[16:]), binary.BigEndian.Uint32(body[20:])
	case "pakt":
		c.valid = int64(binary.BigEndian.Uint64(body[8:]))
	}
	return off + header + size, header
}

func (c *caf) seconds(size int64) float64 {
	if c.rate == 0 || c.dataAt == 0 || c.dataAt > size {
		return 0
	}
	if c.valid > 0 {
		return float64(c.valid) / c.rate
	}
	data := size - c.dataAt
	if c.dataSize >= 0 {
		data = min(data, c.dataSize)
	}
	if c.packetBytes == 0 {
		return 0
	}
	return float64(data/int64(c.packetBytes)) * float64(c.packetSpan) / c.rate
}

func (c *caf) describe(info *Info) { info.SampleRate = int(c.rate) }

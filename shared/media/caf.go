package media

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
)

// caf reads Apple's Core Audio Format 1.0. Packets of a fixed size are counted by the size of the
// data chunk, all others by the packet table. The last packet of ALAC or FLAC may have fewer
// samples than the table states. For ALAC the actual number is read from the packet itself. For
// FLAC neither this number nor the duration is known.
type caf struct {
	rate        float64 // sample frames per second
	packetBytes uint32  // bytes per packet; 0 if packets differ in size
	packetSpan  uint32  // sample frames per packet; 0 if packets differ in length
	format      string  // format identifier of the codec; empty until the description chunk was read
	flags       uint32
	channels    uint32
	bits        uint32 // per sample
	trailing    bool   // a tag follows the chunks
	table       cafTable
	tail        []byte // end of the data, which contains the beginning of the last packet
	tailEnd     int64  // offset of the end of tail from the start of the data
	dataAt      int64  // byte at which the data begins; 0 until the data chunk was found
	dataSize    int64  // size of the data in bytes; negative: the data lasts to the end of the file
}

const cafPacketReach = 24 // number of bytes that are read at the start of a packet

func (c *caf) step(off int64, b []byte) (int64, int) {
	if off == 0 {
		if string(b[:8]) != "caff\x00\x01\x00\x00" {
			return stop()
		}
		return 8, 12
	}
	if c.table.left > 0 || c.dataAt != 0 && off < c.dataAt+c.dataSize {
		return c.asked(off, b)
	}
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
		if c.dataAt != 0 {
			return stop()
		}
		return c.data(off+cafHeader+4, size-4) // the data follows an edit count of 4 bytes
	}
	if size < need || size >= pastEnd {
		return stop()
	}
	if len(b) < cafHeader+int(need) {
		return off, cafHeader + int(need)
	}
	switch body := b[cafHeader:]; id {
	case "desc":
		c.describes(body)
	case "pakt":
		if c.table.begin(body, size-need); c.table.left > 0 {
			return off + cafHeader + need, c.table.window()
		}
	}
	return off + cafHeader + size, cafHeader
}

// asked reads the bytes that an earlier step has requested: a part of the packet table, or the end
// of the data.
func (c *caf) asked(off int64, b []byte) (int64, int) {
	if c.table.left == 0 {
		c.tail, c.tailEnd = bytes.Clone(b), off+int64(len(b))-c.dataAt
		return c.dataAt + c.dataSize, cafHeader
	}
	c.table.read(b, int64(c.packetBytes), int64(c.packetSpan))
	if off += int64(len(b)); c.table.left > 0 {
		return off, c.table.window()
	}
	return off, cafHeader
}

const cafHeader = 12 // size of a chunk's header, in bytes

func (c *caf) describes(b []byte) {
	c.rate = math.Float64frombits(binary.BigEndian.Uint64(b))
	c.format, c.flags = string(b[8:12]), binary.BigEndian.Uint32(b[12:])
	c.channels, c.bits = binary.BigEndian.Uint32(b[24:]), binary.BigEndian.Uint32(b[28:])
	c.packetBytes, c.packetSpan = binary.BigEndian.Uint32(b[16:]), binary.BigEndian.Uint32(b[20:])
}

// data starts the data chunk, and returns which bytes to read next: the beginning of the last
// packet if the packet table was read already; for ALAC without a table the end of the data, in
// which the last packet begins; otherwise the header of the next chunk.
func (c *caf) data(at, size int64) (next int64, want int) {
	c.dataAt, c.dataSize = at, size
	if size >= pastEnd {
		return stop()
	}
	tail := min(max(size, 0), mostBytes)
	if c.table.packets > 0 {
		if size < 0 {
			c.dataSize = c.table.bytes
		}
		tail = min(c.table.last, c.dataSize-c.table.bytes+c.table.last)
		at += c.table.bytes - c.table.last
		return at, int(max(1, min(tail, cafPacketReach)))
	}
	if size <= 0 {
		return stop()
	}
	if c.codec() != "alac" {
		return at + size, cafHeader
	}
	return at + size - tail, int(tail)
}

// codec returns the name of the codec (Core Audio's format identifiers).
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
	if c.rate == 0 || c.dataAt == 0 || c.dataAt > size {
		return
	}
	data := size - c.dataAt
	cut := c.dataSize > data
	if c.dataSize >= 0 && !cut {
		data = c.dataSize
	}
	if cut {
		info.warn(Truncated)
	}
	if c.trailing {
		info.warn(TrailingData)
	}
	if c.packetBytes != 0 && c.packetSpan != 0 {
		info.play(float64(data/int64(c.packetBytes))*float64(c.packetSpan), c.rate)
	} else if !cut {
		info.play(float64(c.counted(info.Codec)), c.rate)
	}
}

// counted returns the number of samples per channel, as the packet table states it, or 0 if it is
// not known.
func (c *caf) counted(codec string) int64 {
	t := &c.table
	if t.packets == 0 || t.packets != t.told {
		return 0
	}
	var packet []byte
	if at := t.bytes - t.last - (c.tailEnd - int64(len(c.tail))); at >= 0 && at < int64(len(c.tail)) {
		packet = c.tail[at:]
	}
	last := t.lastSamples(codec, packet)
	if last == 0 {
		return 0
	}
	return t.frames - t.span + last
}

package media

import "encoding/binary"

// A cafTable reads the packet table ("pakt") of a CAF file whose packets differ in bytes or in
// frames. Its entries are integers of variable length, with seven bits in each byte.
type cafTable struct {
	told    int64 // number of packets, as the table's header states
	packets int64 // number of packets that were read
	bytes   int64 // size of the packets that were read, in bytes
	frames  int64 // number of sample frames in the packets that were read
	last    int64 // size of the last packet, in bytes
	span    int64 // number of sample frames in the last packet

	left   int64 // bytes of the table that are not read yet
	number int64 // value of the entry being read
	second bool  // the entry is the second one of its packet
}

// begin reads the table's header; rest is the size of the entries after it.
func (t *cafTable) begin(head []byte, rest int64) {
	*t = cafTable{told: int64(binary.BigEndian.Uint64(head)), left: rest}
}

// window returns how many bytes of the table are read at once.
func (t *cafTable) window() int { return int(min(t.left, tableWindow)) }

// read reads a part of the table. The parameters bytes and span are the size and the sample frames
// that all packets have in common, or 0 if the packets differ: then the table has an entry for each
// packet.
func (t *cafTable) read(b []byte, bytes, span int64) {
	t.left -= int64(len(b))
	for _, c := range b {
		if t.packets == t.told {
			return
		}
		t.number = min(t.number, pastEnd>>8)<<7 | int64(c&0x7F)
		if c&0x80 != 0 {
			continue
		}
		switch {
		case bytes != 0:
			t.last, t.span = bytes, t.number
		case !t.second:
			t.last, t.span, t.second = t.number, span, span == 0
		default:
			t.span, t.second = t.number, false
		}
		if t.number = 0; !t.second {
			t.packets, t.bytes, t.frames = t.packets+1, min(t.bytes+t.last, pastEnd), min(t.frames+t.span, pastEnd)
		}
	}
}

// lastSamples returns the number of samples per channel in the last packet of a table, or 0 if the
// number is not known; b is the beginning of the packet. The table states the number, except for
// ALAC and FLAC.
func (t *cafTable) lastSamples(codec string, b []byte) int64 {
	switch codec {
	case "alac":
		return alacSamples(b, t.span)
	case "flac":
		return 0
	}
	return t.span
}

// alacSamples returns the number of samples per channel in a packet of ALAC. full is the number of
// samples of a full packet. alacSamples returns 0 if b is too short or the number is larger than
// full. The header of the first element has 3 bits for the type, 4 for the instance, 12 unused, a
// flag, and 3 more. If the flag is set, the number follows in 32 bits; otherwise the packet is
// full.
func alacSamples(b []byte, full int64) int64 {
	const unused, more, size = 3 + 4 + 12, 3, 32
	if len(b) < (unused+1+more+size+7)/8 {
		return 0
	}
	r := bitReader{b: b, at: unused}
	if r.take(1) == 0 {
		return full
	}
	r.take(more)
	if samples := int64(r.take(size)); samples <= full {
		return samples
	}
	return 0
}

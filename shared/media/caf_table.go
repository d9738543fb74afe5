package media

import "encoding/binary"

// A cafTable reads the packet table ("pakt") of a CAF file whose packets differ in bytes or in frames. Its entries are integers
// of variable length, with seven bits in each byte.
type cafTable struct {
	told    int64 // packets, as its head says
	packets int64 // that were read
	bytes   int64 // in those
	frames  int64 // sample frames in those
	last    int64 // bytes of the last one
	span    int64 // and its sample frames

	left   int64 // bytes of the table that are not read yet
	number int64 // the one being read
	second bool  // it is a packet's second
}

// begin takes the table's head and the size of what follows.
func (t *cafTable) begin(head []byte, rest int64) {
	*t = cafTable{told: int64(binary.BigEndian.Uint64(head)), left: rest}
}

// window is how many bytes of the table are read at once.
func (t *cafTable) window() int { return int(min(t.left, tableWindow)) }

// read takes bytes of the table. A packet's size and its length stand there if they are not the same, bytes and span, for all.
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

// lastSamples is how many samples a channel the last packet of a table has, b being its beginning; 0 where it does not tell.
// Of a codec that is not asked it is what the table says.
func (t *cafTable) lastSamples(codec string, b []byte) int64 {
	switch codec {
	case "alac":
		return alacSamples(b, t.span)
	case "flac":
		return 0
	}
	return t.span
}

// alacSamples is how many samples a channel a packet of ALAC has, by its first element's header: 3 bits of a kind, 4 of a
// number, 12 that are not used, and a flag that a size of 32 bits follows, behind 3 bits more. Else the packet is full.
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

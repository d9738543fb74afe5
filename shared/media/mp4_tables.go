package media

import (
	"encoding/binary"
	"math/bits"
)

const (
	tableWindow = 16 << 10 // maximum number of bytes of a table that are read at once
	mostPackets = 16 << 10 // maximum number of packets whose sizes are kept, to count the complete packets of a truncated file
	mostChunks  = 4 << 10
	mostRuns    = 1 << 10
)

// An mp4Table is the table whose rows are being read.
type mp4Table struct {
	kind  string
	row   int   // size of a row in bytes
	left  int64 // bytes of the table that are not read yet
	end   int64 // byte at which the box ends
	flags uint32
}

// openTable reads the header of a table.
func (m *mp4) openTable(kind string, off int64, header int, size uint64, b []byte) (int64, int) {
	end := off + int64(size)
	head := header + 8 // version and flags, 4 bytes, and the number of rows; stsz also has the common size of all packets
	if kind == "stsz" {
		head += 4
	}
	flags := uint32(0)
	if kind == "trun" && len(b) >= header+4 {
		flags = binary.BigEndian.Uint32(b[header:]) & 0xFFFFFF
		head += 4 * bits.OnesCount32(flags&(runOffset|runFirstFlags))
	}
	if uint64(head) > size {
		return end, boxHeader
	}
	if len(b) < header+4 {
		return off, header + 4
	}
	if len(b) < head {
		return off, head
	}
	t := mp4Table{kind: kind, flags: flags}
	count, empty := m.layout(&t, header, head, b)
	if empty {
		return end, boxHeader
	}
	t.left = min(count*int64(t.row), int64(size)-int64(head))
	t.left -= t.left % int64(max(t.row, 1))
	if m.table = t; t.left <= 0 {
		return end, boxHeader
	}
	m.table.end = end
	return off + int64(head), t.window()
}

// layout sets the size of a table's rows and returns their number. empty is true if no rows follow
// the header.
func (m *mp4) layout(t *mp4Table, header, head int, b []byte) (count int64, empty bool) {
	be, version := binary.BigEndian, b[header]
	count = int64(be.Uint32(b[head-4:]))
	switch t.kind {
	case "stts":
		t.row = 8
	case "stsz":
		t.row = 4
		m.entry.size, m.entry.count = be.Uint32(b[header+4:]), count
		return count, m.entry.size != 0
	case "stsc":
		t.row = 12
	case "stco":
		t.row, m.entry.chunks = 4, count
	case "co64":
		t.row, m.entry.chunks = 8, count
	case "elst":
		if t.row = 12; version == 1 {
			t.row = 20
		}
	case "trun":
		count = int64(be.Uint32(b[header+4:]))
		t.row = 4 * bits.OnesCount32(t.flags&(runDuration|runSize|runFlags|runTime))
		m.fragment.run(count, t.flags, b[header+8:head])
	}
	return count, false
}

// window returns how many bytes of the table are read at once.
func (t *mp4Table) window() int { return int(min(t.left, int64(tableWindow/t.row*t.row))) }

// rows reads the rows of a table in b.
func (m *mp4) rows(off int64, b []byte) (int64, int) {
	t := &m.table
	n := t.window()
	for row := b[:n]; len(row) > 0; row = row[t.row:] {
		m.row(t, row[:t.row])
	}
	if t.left -= int64(n); t.left > 0 {
		return off + int64(n), t.window()
	}
	return t.end, boxHeader
}

func (m *mp4) row(t *mp4Table, row []byte) {
	be, e := binary.BigEndian, &m.entry
	switch t.kind {
	case "stts":
		n, step := int64(be.Uint32(row)), int64(be.Uint32(row[4:]))
		if e.firstStep == 0 {
			e.firstStep = step
		}
		e.ticks = min(e.ticks+n*step, pastEnd)
	case "stsz":
		if len(e.sizes) < mostPackets {
			e.sizes = append(e.sizes, be.Uint32(row))
		}
	case "stsc":
		if len(e.runs) < mostRuns {
			e.runs = append(e.runs, chunkRun{be.Uint32(row), be.Uint32(row[4:])})
		}
	case "stco", "co64":
		if len(e.offsets) < mostChunks {
			e.offsets = append(e.offsets, int64(number(row)))
		}
	case "elst":
		e.edit(row)
	case "trun":
		m.fragment.packet(t.flags, row)
	}
}

// edit reads a row of the edit list (section 8.6.6). The first edit that is not empty counts.
func (t *mp4Track) edit(row []byte) {
	half := 4
	if len(row) == 20 {
		half = 8
	}
	duration, at := int64(number(row[:half])), int64(number(row[half:2*half]))
	if half == 4 {
		at = int64(int32(at))
	}
	if at < 0 || t.edited || duration < 0 || at >= pastEnd || duration >= pastEnd {
		return
	}
	t.edited, t.mediaTime, t.duration = true, at, duration
}

// whole returns how many packets of the movie box lie completely within the first size bytes of the
// file, and their duration in ticks; ok is false if these are not known. If cut is false, the file
// is complete and all packets count.
func (t *mp4Track) whole(size int64, cut bool) (count, ticks int64, ok bool) {
	if !cut || t.count == 0 {
		return t.count, t.ticks, true
	}
	if t.chunks > int64(len(t.offsets)) || t.size == 0 && t.count > int64(len(t.sizes)) || len(t.runs) == 0 || len(t.runs) == mostRuns {
		return 0, 0, false
	}
	run := 0
	for chunk, at := range t.offsets {
		for run+1 < len(t.runs) && t.runs[run+1].first <= uint32(chunk+1) {
			run++
		}
		for range t.runs[run].packets {
			if count == t.count {
				break
			}
			bytes := t.size
			if bytes == 0 {
				bytes = t.sizes[count]
			}
			if at += int64(bytes); at > size {
				return count, t.ticks / t.count * count, t.frame != 0 || t.ticks%t.count == 0
			}
			count++
		}
	}
	return count, t.ticks, true
}

package media

import "encoding/binary"

// mp4 reads the ISO base media file format (ISO/IEC 14496-12): the movie header's duration, wherever the movie box stands. A file written
// in fragments tells 0 there; then the duration of its movie extends header counts, if it has one.
type mp4 struct {
	scale  uint32 // units a second
	length uint64 // units
}

func (m *mp4) step(off int64, b []byte) (int64, int) {
	if off == 0 && len(b) > 8 {
		b = b[:8]
	}
	size, header := uint64(binary.BigEndian.Uint32(b)), 8
	if size == 1 { // a large size follows (section 4.2)
		if header = 16; len(b) < header {
			return off, header
		}
		size = binary.BigEndian.Uint64(b[8:])
	}
	if size < uint64(header) || size >= pastEnd { // 0: up to the end of the file, so that nothing follows
		return stop()
	}
	kind := string(b[4:8])
	switch kind {
	case "moov", "mvex": // their boxes follow; a walk over those ends where the container does
		return off + int64(header), 8
	case "mvhd", "mehd":
		const most = 4 + 8 + 8 + 4 + 8 // a version 1 header up to its duration
		need := header + int(min(most, size-uint64(header)))
		if len(b) < need {
			return off, need
		}
		if kind == "mvhd" {
			m.movieHeader(b[header:])
		} else {
			m.extendsHeader(b[header:])
		}
		if m.length != 0 {
			return stop()
		}
	}
	return off + int64(size), 8
}

// movieHeader takes the time scale and the duration (section 8.2.2). All ones mean that the duration is not known.
func (m *mp4) movieHeader(b []byte) {
	be := binary.BigEndian
	switch {
	case len(b) >= 20 && b[0] == 0:
		m.scale, m.length = be.Uint32(b[12:]), uint64(be.Uint32(b[16:]))
		if m.length == ones32 {
			m.length = 0
		}
	case len(b) >= 32 && b[0] == 1:
		m.scale, m.length = be.Uint32(b[20:]), be.Uint64(b[24:])
		if m.length == 1<<64-1 {
			m.length = 0
		}
	}
}

// extendsHeader takes the duration of a file in fragments (section 8.8.2).
func (m *mp4) extendsHeader(b []byte) {
	switch {
	case len(b) >= 8 && b[0] == 0:
		m.length = uint64(binary.BigEndian.Uint32(b[4:]))
	case len(b) >= 12 && b[0] == 1:
		m.length = binary.BigEndian.Uint64(b[4:])
	}
}

func (m *mp4) seconds(int64) float64 {
	return float64(m.length) / float64(m.scale) // not a number, or infinite, where there is no scale
}

func (m *mp4) describe(*Info) {}

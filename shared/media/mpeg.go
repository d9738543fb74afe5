package media

import "encoding/binary"

// mpeg reads MPEG audio, layers II and III (MP3), by following every frame to the end of the file; a tag in the first frame
// (Xing, Info, VBRI) tells what the encoder added in silence, and the number of frames where the row is broken.
type mpeg struct {
	stream  uint64 // the fields that stay the same; 0 before the first frame
	rate    int    // samples a second
	samples int    // in a frame, a channel
	frames  int64
	end     int64 // where the last frame ends
	lost    bool  // something else than a frame was met

	told    int64 // frames, as the tag says; 0: it does not
	delay   int64 // samples that the encoder added in front
	padding int64 // and behind
}

const (
	tagReach   = 192 // bytes of a first frame that hold all of a tag that is read
	leastFrame = 24  // bytes: 8 kbit/s at 24 kHz
)

func (m *mpeg) step(off int64, b []byte) (int64, int) {
	f, ok := mpegHeader(b)
	if !ok || m.stream != 0 && m.stream != f.stream {
		m.lost = !trailer(b)
		return stop()
	}
	next := off + int64(f.length)
	if m.stream == 0 {
		if need := min(f.length, tagReach); len(b) < need {
			return off, need
		}
		m.stream, m.rate, m.samples = f.stream, f.rate, f.samples
		if m.tag(b, f) { // a frame for players that do not know it: silent
			return next, mpegHeaderSize
		}
	}
	m.frames, m.end = m.frames+1, next
	return next, mpegHeaderSize
}

func (m *mpeg) seconds(size int64) float64 {
	if m.rate == 0 {
		return 0
	}
	frames := m.frames
	if m.end > size { // the last one was cut
		frames--
	}
	if m.lost {
		if m.told < frames || m.told-frames > (size-m.end)/leastFrame {
			return 0
		}
		frames = m.told
	}
	samples := frames*int64(m.samples) - m.delay
	if frames == m.told { // all frames are there, and so is what was added behind
		samples -= m.padding
	}
	return float64(samples) / float64(m.rate)
}

// tag reads the tag in the first frame, b, if there is one.
func (m *mpeg) tag(b []byte, f frame) bool {
	const vbri = 36 // Fraunhofer's tag stands at a fixed place
	if len(b) >= vbri+18 && string(b[vbri:vbri+4]) == "VBRI" {
		m.told = int64(binary.BigEndian.Uint32(b[vbri+14:]))
		return true
	}
	if len(b) < f.sideEnd+8 {
		return false
	}
	b = b[f.sideEnd:]
	if id := string(b[:4]); id != "Xing" && id != "Info" {
		return false
	}
	flags, rest := binary.BigEndian.Uint32(b[4:]), b[8:]
	for _, field := range [...]struct {
		flag uint32
		size int
	}{{1, 4}, {2, 4}, {4, 100}, {8, 4}} { // frames, bytes, table of contents, quality
		if flags&field.flag == 0 {
			continue
		}
		if len(rest) < field.size {
			return true
		}
		if field.flag == 1 {
			m.told = int64(binary.BigEndian.Uint32(rest))
		}
		rest = rest[field.size:]
	}
	if len(rest) >= 24 && rest[0] != 0 { // LAME's extension: an encoder's name, and further on two numbers of 12 bits
		m.delay, m.padding = int64(rest[21])<<4|int64(rest[22])>>4, int64(rest[22]&15)<<8|int64(rest[23])
	}
	return true
}

func (m *mpeg) describe(info *Info) {
	info.Container, info.MediaType, info.SampleRate = "mpeg", "audio/mpeg", m.rate
}

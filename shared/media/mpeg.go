package media

import "encoding/binary"

// mpeg reads MPEG audio, layers I to III (MP3), by following every frame to the end of the file; a tag in the first frame
// (Xing, Info, VBRI) tells what the encoder added in silence, and the number of frames where the row is broken.
type mpeg struct {
	plain    bool  // a tag is a frame like others
	first    frame // of length 0 before the first one
	frames   int64
	end      int64 // where the last frame ends
	lost     bool  // something else than a frame was met
	trailing bool  // a tag was

	told    int64 // frames, as the tag says; 0: it does not
	delay   int64 // samples that the encoder added in front
	padding int64 // and behind
	gapless bool  // both are told
}

const (
	tagReach   = 192 // bytes of a first frame that hold all of a tag that is read
	leastFrame = 24  // bytes: 8 kbit/s at 24 kHz
)

func (m *mpeg) step(off int64, b []byte) (int64, int) {
	f, ok := mpegHeader(b)
	if !ok || m.first.length != 0 && m.first.stream != f.stream {
		m.trailing = trailer(b)
		m.lost = !m.trailing
		return stop()
	}
	next := off + int64(f.length)
	if m.first.length == 0 {
		if need := min(f.length, tagReach); len(b) < need {
			return off, need
		}
		m.first = f
		if !m.plain && m.tag(b, f) { // a frame for players that do not know it: silent
			return next, mpegHeaderSize
		}
	}
	m.frames, m.end = m.frames+1, next
	return next, mpegHeaderSize
}

func (m *mpeg) describe(info *Info, size int64, _ []byte) {
	if m.first.rate == 0 {
		return
	}
	info.Codec, info.SampleRate, info.Channels = m.first.codec, m.first.rate, m.first.channels
	frames := m.frames
	if m.end > size { // the last one was cut, which decoders play nevertheless
		info.warn(Truncated)
	}
	switch {
	case m.trailing:
		info.warn(TrailingData)
	case m.lost:
		info.warn(Damaged)
		if m.told < frames || m.told-frames > (size-m.end)/leastFrame {
			return
		}
		frames = m.told
	}
	info.play(float64(m.audible(frames)), float64(m.first.rate))
}

// audible is how many samples a channel are left of frames, without what the encoder added in front and behind. A decoder
// adds decoderDelay in front of what the encoder added.
func (m *mpeg) audible(frames int64) int64 {
	const decoderDelay = 529 // samples
	per := int64(m.first.samples)
	total, end := frames*per, m.told*per
	if !m.gapless {
		return total
	}
	first := end - m.padding + decoderDelay
	behind := int64(0)
	if m.told > 0 && first < end {
		behind = max(0, min(total, end)-first)
	}
	return total - behind - m.delay - decoderDelay
}

// tag reads the tag in the first frame, b, if there is one.
func (m *mpeg) tag(b []byte, f frame) bool {
	const vbri = 36 // Fraunhofer's tag stands at a fixed place
	if len(b) >= vbri+18 && string(b[vbri:vbri+4]) == "VBRI" {
		m.told = int64(binary.BigEndian.Uint32(b[vbri+14:]))
		return true
	}
	if f.sideEnd == 0 || len(b) < f.sideEnd+8 {
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
	if len(rest) < 24 {
		return true
	}
	switch string(rest[:4]) { // LAME's extension: an encoder's name, and further on two numbers of 12 bits
	case "LAME", "Lavf", "Lavc":
		m.gapless = true
		m.delay, m.padding = int64(rest[21])<<4|int64(rest[22])>>4, int64(rest[22]&15)<<8|int64(rest[23])
	}
	return true
}

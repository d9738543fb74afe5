package media

import "encoding/binary"

// mpeg reads MPEG audio, layers I to III (MP3), by following every frame to the end of the file. A
// tag in the first frame (Xing, Info, VBRI) states the silence that the encoder added. It also
// states the number of frames, which is used if the file is damaged.
type mpeg struct {
	plain    bool  // tags are not read: a frame with a tag counts as sound (MPEG audio in WAV)
	first    frame // the first frame; its length is 0 until it is read
	frames   int64
	end      int64 // byte at which the last frame ends
	lost     bool  // reading stopped at bytes that are no frame
	trailing bool  // reading stopped at a tag

	told    int64 // number of frames in the tag; 0: not stated
	delay   int64 // samples that the encoder added at the start of the sound
	padding int64 // samples that the encoder added at the end of the sound
	gapless bool  // the tag states delay and padding
}

const (
	tagReach   = 192 // bytes at the start of the first frame that may contain a tag
	leastFrame = 24  // size of the smallest frame in bytes: 8 kbit/s at 24 kHz
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
		if !m.plain && m.tag(b, f) { // the frame contains the tag and no sound; players that do not know the tag play it as silence
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
	if m.end > size { // the file ends within the last frame; decoders play the frame nevertheless
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

// audible returns how many samples per channel remain without those that the encoder added at the
// start and the end of the sound. A decoder adds another decoderDelay samples at its start.
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

// tag reports whether the first frame, b, has a tag, and reads the tag.
func (m *mpeg) tag(b []byte, f frame) bool {
	const vbri = 36 // Fraunhofer's tag is at a fixed offset
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
	}{{1, 4}, {2, 4}, {4, 100}, {8, 4}} { // fields of a Xing tag: frames, bytes, table of contents, quality
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
	switch string(rest[:4]) { // LAME's extension of the tag: the encoder's name and, as numbers of 12 bits, delay and padding
	case "LAME", "Lavf", "Lavc":
		m.gapless = true
		m.delay, m.padding = int64(rest[21])<<4|int64(rest[22])>>4, int64(rest[22]&15)<<8|int64(rest[23])
	}
	return true
}

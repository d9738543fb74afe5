package probe

import "encoding/binary"

// mpeg reads MPEG audio, layers II and III (MP3), by following every frame to the end of the file; a tag in the first frame
// (Xing, Info, VBRI) tells what the encoder added in silence, and the number of frames where the row is broken.
type mpeg struct {
	stream  uint32 // the fields that stay the same; 0 before the first frame
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
	mpegHeaderSize = 4
	tagReach       = 192 // bytes of a first frame that hold all of a tag that is read
	leastFrame     = 24  // bytes: 8 kbit/s at 24 kHz
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
func (m *mpeg) tag(b []byte, f mpegFrame) bool {
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

// An mpegFrame is what a frame's header tells.
type mpegFrame struct {
	length  int // bytes
	samples int // a channel
	rate    int // samples a second
	sideEnd int // where a layer III frame's side information ends, which is where a tag begins
	stream  uint32
}

// mpegHeader reads a frame header of MPEG-1 and MPEG-2 audio, layers II and III (ISO/IEC 11172-3, section 2.4.2.3; ISO/IEC 13818-3), or of
// their extension to low rates ("MPEG 2.5", layer III only). Free format, whose frames do not tell their length, is not read.
func mpegHeader(b []byte) (mpegFrame, bool) {
	const (
		sync      = 0xFFE00000
		layerII   = 2
		layerIII  = 1
		mpeg25    = 0
		mpeg1     = 3
		sameKinds = 0xFFFE0C00 // sync, version, layer, sampling rate
	)
	h := binary.BigEndian.Uint32(b)
	version, layer, rate, step := h>>19&3, h>>17&3, h>>10&3, h>>12&15
	switch {
	case h&sync != sync, version == 1, rate == 3, step == 0, step == 15, h&3 == 2,
		layer != layerII && layer != layerIII, version == mpeg25 && layer == layerII:
		return mpegFrame{}, false
	}
	f := mpegFrame{samples: 1152, rate: [...]int{44100, 48000, 32000}[rate], stream: h & sameKinds}
	kbits := [...]int{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160}
	stereo, mono := 17, 9
	switch {
	case version == mpeg1 && layer == layerII:
		kbits = [...]int{0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384}
	case version == mpeg1:
		kbits = [...]int{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320}
		stereo, mono = 32, 17
	case layer == layerIII:
		f.samples = 576
	}
	switch version {
	case mpeg25:
		f.rate /= 4
	case 2:
		f.rate /= 2
	}
	f.length = f.samples/8*1000*kbits[step]/f.rate + int(h>>9&1)
	if f.sideEnd = mpegHeaderSize + stereo; h>>6&3 == 3 {
		f.sideEnd = mpegHeaderSize + mono
	}
	return f, true
}

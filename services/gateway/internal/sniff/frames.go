package sniff

import "encoding/binary"

// longestRow is how many bytes show two frames of any size: the greatest ADTS frame and a header.
const longestRow = 8191 + 7

// framed knows the formats that are a row of frames and nothing else: MPEG audio and AAC in ADTS, alone or after ID3v2
// tags, which may also stand before native FLAC. A tag that leaves too little of head to see frames (it holds a picture)
// is taken for MPEG audio's, whose tag it is. Zero bytes after a tag are padding that its size forgot.
func framed(head []byte) string {
	rest := head
	for size := id3v2(rest); size > 0; size = id3v2(rest) {
		rest = rest[min(size, len(rest)):]
	}
	tagged := len(rest) < len(head)
	for tagged && len(rest) > 0 && rest[0] == 0 {
		rest = rest[1:]
	}
	switch {
	case tagged && flac(rest) != "":
		return "audio/flac"
	case row(rest, mpegFrame):
		return "audio/mpeg"
	case row(rest, adtsFrame):
		return "audio/aac"
	case tagged && len(head) >= HeadSize && len(rest) < longestRow:
		return "audio/mpeg"
	}
	return ""
}

// id3v2 returns the size of the ID3v2 tag that b begins with, its header and footer included, in bytes, or 0 where
// there is none (ID3v2.4.0 structure, section 3.1; 2.2 and 2.3 agree with it).
func id3v2(b []byte) int {
	if at(b, 0, 3) != "ID3" || len(b) < 10 || b[3] < 2 || b[3] > 4 || b[4] == 0xFF {
		return 0
	}
	size := 0
	for _, c := range b[6:10] {
		if c >= 0x80 {
			return 0
		}
		size = size<<7 | int(c)
	}
	const footer = 0x10
	if b[3] == 4 && b[5]&footer != 0 {
		size += 10
	}
	return 10 + size
}

// A frame is what a header tells: how many bytes the frame has, and the fields that stay the same in a stream.
type frame struct {
	length int
	stream uint64
}

// row tells whether b begins with a whole frame and then either ends or goes on with the header of another frame of the
// same stream. A single header is too weak a sign: random bytes look like one in one place of a few thousand.
func row(b []byte, parse func([]byte) (frame, bool)) bool {
	first, ok := parse(b)
	if !ok || first.length > len(b) {
		return false
	}
	if first.length == len(b) {
		return true
	}
	second, ok := parse(b[first.length:])
	return ok && first.stream == second.stream
}

// mpegFrame reads a frame header of MPEG-1 and MPEG-2 audio, layers II and III (ISO/IEC 11172-3, section 2.4.2.3; ISO/IEC
// 13818-3), or of their extension to low rates ("MPEG 2.5", layer III only). Layer I is not known: nobody records in it, and its
// header is what UTF-16 text begins with (FF FE). Free format is not known: its frames do not tell their length.
func mpegFrame(b []byte) (frame, bool) {
	if len(b) < 4 {
		return frame{}, false
	}
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
		return frame{}, false
	}
	hertz := [...]int{44100, 48000, 32000}[rate]
	kbits, slots := [...]int{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160}, 144
	switch {
	case version == mpeg1 && layer == layerII:
		kbits = [...]int{0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384}
	case version == mpeg1:
		kbits = [...]int{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320}
	case layer == layerIII:
		slots = 72
	}
	switch version {
	case mpeg25:
		hertz /= 4
	case 2:
		hertz /= 2
	}
	return frame{length: slots*1000*kbits[step]/hertz + int(h>>9&1), stream: uint64(h & sameKinds)}, true
}

// adtsFrame reads an AAC frame's ADTS header (ISO/IEC 13818-7, section 6.2; ISO/IEC 14496-3, section 1.A.2.2).
func adtsFrame(b []byte) (frame, bool) {
	if len(b) < 7 {
		return frame{}, false
	}
	const (
		sync      = 0xFFF << 44
		layer     = 0b11 << 41
		noCRC     = 1 << 40
		sameKinds = 0x7FFF<<41 | 0x3F<<34 | 0b111<<30 // sync, version, layer; profile, sampling rate; channels
	)
	h := uint64(binary.BigEndian.Uint32(b))<<24 | uint64(binary.BigEndian.Uint32(b[3:]))&0xFFFFFF
	length, header := int(h>>13&0x1FFF), 9
	if h&noCRC != 0 {
		header = 7
	}
	if h&sync != sync || h&layer != 0 || h>>34&15 > 12 || length <= header {
		return frame{}, false
	}
	return frame{length: length, stream: h & sameKinds}, true
}

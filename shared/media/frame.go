package media

import "encoding/binary"

// A frame is the content of the header of an MPEG audio frame or of an AAC frame in ADTS.
type frame struct {
	length   int // length in bytes
	samples  int // samples per channel
	rate     int // samples per second
	channels int // number of channels; 0 if the header does not state it
	sideEnd  int // end of the side information of a layer III frame, where a Xing tag begins
	codec    string
	stream   uint64 // the header fields that are equal in all frames of a stream
}

const (
	mpegHeaderSize = 4
	adtsHeaderSize = 7
)

// mpegHeader reads the header of a frame of MPEG-1 or MPEG-2 audio (ISO/IEC 11172-3, section
// 2.4.2.3; ISO/IEC 13818-3), or of their extension to low rates ("MPEG 2.5"). Free format is not
// supported, since its headers do not state the length of a frame.
func mpegHeader(b []byte) (frame, bool) {
	if len(b) < mpegHeaderSize {
		return frame{}, false
	}
	const (
		sync      = 0xFFE00000
		layerI    = 3
		layerIII  = 1
		mpeg25    = 0
		mpeg1     = 3
		sameKinds = 0xFFFE0C00 // mask of the fields in stream: sync, version, layer, sampling rate
	)
	h := binary.BigEndian.Uint32(b)
	version, layer, rate, step := h>>19&3, h>>17&3, h>>10&3, h>>12&15
	if h&sync != sync || version == 1 || layer == 0 || rate == 3 || step == 0 || step == 15 {
		return frame{}, false
	}
	f := frame{samples: 1152, channels: 2, rate: [...]int{44100, 48000, 32000}[rate], codec: "mp2", stream: uint64(h & sameKinds)}
	if h>>6&3 == 3 {
		f.channels = 1
	}
	switch version {
	case mpeg25:
		f.rate /= 4
	case mpeg1:
	default:
		f.rate /= 2
	}
	slot := 1 // size of a slot in bytes
	switch layer {
	case layerI:
		f.samples, f.codec, slot = 384, "mp1", 4
	case layerIII:
		f.codec, f.sideEnd = "mp3", mpegHeaderSize+sideSize(version == mpeg1, f.channels)
		if version != mpeg1 {
			f.samples = 576
		}
	}
	f.length = (f.samples/8/slot*1000*mpegRate(version == mpeg1, layer, step)/f.rate + int(h>>9&1)) * slot
	return f, true
}

// sideSize returns the size in bytes of the side information of a layer III frame.
func sideSize(mpeg1 bool, channels int) int {
	switch {
	case mpeg1 && channels == 2:
		return 32
	case mpeg1, channels == 2:
		return 17
	default:
		return 9
	}
}

// mpegRate returns the bit rate, in kbit/s, of an index in a frame header.
func mpegRate(mpeg1 bool, layer, index uint32) int {
	const layerI, layerII = 3, 2
	switch {
	case mpeg1 && layer == layerI:
		return int(index) * 32
	case mpeg1 && layer == layerII:
		return [...]int{0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384}[index]
	case mpeg1:
		return [...]int{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320}[index]
	case layer == layerI:
		return [...]int{0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256}[index]
	default:
		return [...]int{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160}[index]
	}
}

// adtsHeader reads an AAC frame's ADTS header (ISO/IEC 13818-7, section 6.2; ISO/IEC 14496-3,
// section 1.A.2.2).
func adtsHeader(b []byte) (frame, bool) {
	if len(b) < adtsHeaderSize {
		return frame{}, false
	}
	const (
		sync      = 0xFFF << 44
		layer     = 0b11 << 41
		noCRC     = 1 << 40
		sameKinds = 0x7FFF<<41 | 0x3F<<34 | 0b111<<30 // mask of the fields in stream: sync, version, layer; profile, sampling rate; channels
	)
	h := uint64(binary.BigEndian.Uint32(b))<<24 | uint64(binary.BigEndian.Uint32(b[3:]))&0xFFFFFF
	length, header := int(h>>13&0x1FFF), adtsHeaderSize+2
	if h&noCRC != 0 {
		header = adtsHeaderSize
	}
	rate := adtsRate(uint32(h >> 34 & 15))
	if h&sync != sync || h&layer != 0 || rate == 0 || length <= header {
		return frame{}, false
	}
	channels := int(h >> 30 & 7)
	if channels == 7 {
		channels = 8
	}
	return frame{length: length, samples: (int(b[6]&3) + 1) * 1024, rate: rate, channels: channels, codec: "aac", stream: h & sameKinds}, true
}

// adtsRate returns the sampling rate of an index (ISO/IEC 14496-3, table 1.18), or 0 if the index
// is not assigned.
func adtsRate(index uint32) int {
	return [16]int{96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350}[index]
}

package media

// framed reads MPEG audio, AAC in ADTS and native FLAC, all three alone or after ID3v2 tags of any size and the zero bytes that
// some writers leave behind those.
type framed struct {
	tagged bool
	stream reader // nil until it is known
}

func (f *framed) step(off int64, b []byte) (int64, int) {
	if f.stream != nil {
		return f.stream.step(off, b)
	}
	if size := id3v2(b); size > 0 {
		f.tagged = true
		return off + size, magicSize
	}
	switch {
	case f.tagged && b[0] == 0:
		return off + 1, magicSize
	case string(b[:4]) == "fLaC":
		f.stream = &flac{}
	case b[0] == 0xFF && b[1]&0xF6 == 0xF0: // an ADTS header has a layer of 0, which MPEG audio never has
		f.stream = &adts{}
	default:
		f.stream = &mpeg{}
	}
	return f.stream.step(off, b)
}

func (f *framed) seconds(size int64) float64 {
	if f.stream == nil {
		return 0
	}
	return f.stream.seconds(size)
}

// id3v2 returns the size of the ID3v2 tag that b begins with, its header and footer included, in bytes, or 0 where there is none
// (ID3v2.4.0 structure, section 3.1; 2.2 and 2.3 agree with it).
func id3v2(b []byte) int64 {
	if len(b) < 10 || string(b[:3]) != "ID3" || b[3] < 2 || b[3] > 4 || b[4] == 0xFF {
		return 0
	}
	size := int64(10)
	const footer = 0x10
	if b[3] == 4 && b[5]&footer != 0 {
		size += 10
	}
	for i, c := range b[6:10] {
		if c >= 0x80 {
			return 0
		}
		size += int64(c) << (7 * (3 - i))
	}
	return size
}

// trailer tells whether the frames are over because b begins a tag that stands at the end of a file: ID3v1, APEv2 or Lyrics3.
func trailer(b []byte) bool {
	return string(b[:3]) == "TAG" || string(b[:4]) == "APET" || string(b[:4]) == "LYRI"
}

func (f *framed) describe(info *Info) {
	if f.stream != nil {
		f.stream.describe(info)
	}
}

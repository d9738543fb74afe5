package media

import "bytes"

// tagSize is how many bytes of tags b begins with: an ID3v2 tag, and behind one the zero bytes that its size forgot.
func tagSize(b []byte, behindTag bool) int64 {
	if size := id3v2(b); size > 0 || !behindTag {
		return size
	}
	zeros := 0
	for zeros < len(b) && b[zeros] == 0 {
		zeros++
	}
	if zeros > 0 && sniffMP4(b) != "" { // a box's size begins with zero bytes
		return 0
	}
	return int64(zeros)
}

// id3v2 returns the size of the ID3v2 tag that b begins with, its header and footer included, in bytes, or 0 where there is
// none (ID3v2.4.0 structure, section 3.1; 2.2 and 2.3 agree with it).
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
	return len(b) >= 4 && (string(b[:3]) == "TAG" || string(b[:4]) == "APET" || string(b[:4]) == "LYRI")
}

// trailerAt is where in b the tags begin that end it, -1 where there are none: ID3v1, which has 128 bytes, and before it
// APEv2 and Lyrics3.
func trailerAt(b []byte) int {
	at := -1
	const id3v1 = 128
	if len(b) >= id3v1 && trailer(b[len(b)-id3v1:]) {
		at = len(b) - id3v1
	}
	for _, magic := range [...]string{"APETAGEX", "LYRICSBEGIN"} {
		if first := bytes.Index(b, []byte(magic)); first >= 0 && (at < 0 || first < at) {
			at = first
		}
	}
	return at
}

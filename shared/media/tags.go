package media

import "bytes"

// tagSize returns the size of the ID3v2 tag that b begins with. If b begins with no tag but follows
// one (behindTag), tagSize returns the number of leading zero bytes: padding that the tag's size
// does not include.
func tagSize(b []byte, behindTag bool) int64 {
	if size := id3v2(b); size > 0 || !behindTag {
		return size
	}
	zeros := 0
	for zeros < len(b) && b[zeros] == 0 {
		zeros++
	}
	if zeros > 0 && sniffMP4(b) != "" { // the zero bytes are the beginning of an MP4 box's size
		return 0
	}
	return int64(zeros)
}

// id3v2 returns the size in bytes, with header and footer, of the ID3v2 tag that b begins with, or
// 0 if there is no tag (ID3v2.4.0 structure, section 3.1; the same in 2.2 and 2.3).
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

// trailer reports whether b begins with a tag at the end of a file: ID3v1, APEv2 or
// Lyrics3.
func trailer(b []byte) bool {
	return len(b) >= 4 && (string(b[:3]) == "TAG" || string(b[:4]) == "APET" || string(b[:4]) == "LYRI")
}

// trailerAt returns the offset of the tags at the end of b, or -1 if there are none: ID3v1, which
// has 128 bytes, and before it APEv2 and Lyrics3.
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

package media

// longestRow is how many bytes show two frames of any size: the greatest ADTS frame and a header.
const longestRow = 8191 + 7

// sniffFrames knows the formats that are a row of frames and nothing else: MPEG audio and AAC in ADTS, alone or after ID3v2
// tags, which may also stand before native FLAC. A tag that leaves too little of head to see frames (it holds a picture)
// is taken for MPEG audio's, whose tag it is. Zero bytes after a tag are padding that its size forgot.
func sniffFrames(head []byte) string {
	rest := head
	for size := id3v2(rest); size > 0; size = id3v2(rest) {
		rest = rest[min(size, int64(len(rest))):]
	}
	tagged := len(rest) < len(head)
	for tagged && len(rest) > 0 && rest[0] == 0 {
		rest = rest[1:]
	}
	switch {
	case tagged && sniffFLAC(rest) != "":
		return "audio/flac"
	case row(rest, mpegHeader):
		return "audio/mpeg"
	case row(rest, adtsHeader):
		return "audio/aac"
	case tagged && len(head) >= HeadSize && len(rest) < longestRow:
		return "audio/mpeg"
	}
	return ""
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

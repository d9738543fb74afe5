package media

import "bytes"

const (
	longestRow = 8191 + 7 // bytes that always contain a frame and the next header: those of the largest ADTS frame and a header
	searchedIn = 3        // number of consecutive frames that are needed to recognise audio after other bytes
)

// sniffFrames recognises the formats that are a sequence of frames without a signature: MPEG audio
// and AAC in ADTS.
func sniffFrames(b []byte) string {
	switch {
	case row(b, mpegHeader, 2):
		return mediaMPEG
	case row(b, adtsHeader, 2):
		return mediaADTS
	}
	return ""
}

// searchFrames looks for the first sequence of frames after the first byte of b, as in a stream
// that was cut at any byte. A file that begins like another kind of file is refused, even if it
// contains sound.
func searchFrames(b []byte) (mediaType string, off int) {
	if isOtherKind(b) {
		return "", 0
	}
	for off = 1; ; off++ {
		next := bytes.IndexByte(b[min(off, len(b)):], 0xFF)
		if next < 0 {
			return "", 0
		}
		off += next
		switch {
		case row(b[off:], mpegHeader, searchedIn):
			return mediaMPEG, off
		case row(b[off:], adtsHeader, searchedIn):
			return mediaADTS, off
		}
	}
}

// row reports whether b begins with a complete frame that is followed by the end of b, or by the
// headers of more frames of the same stream. The parameter least is the number of frames that must
// follow each other. A single header is not enough: one in a few thousand positions of random bytes
// looks like a header.
func row(b []byte, parse func([]byte) (frame, bool), least int) bool {
	first, ok := parse(b)
	if !ok || first.length > len(b) {
		return false
	}
	for n, f := 1, first; n < least; n++ {
		b = b[f.length:]
		if len(b) == 0 {
			return least == 2 || n == least-1
		}
		f, ok = parse(b)
		if !ok || f.stream != first.stream {
			return false
		}
		if f.length > len(b) {
			return n == least-1
		}
	}
	return true
}

// isOtherKind reports whether b begins like a file that is not audio, or not only audio: documents,
// archives, programs, pictures, and films, whose sound may be frames of MPEG audio.
func isOtherKind(b []byte) bool {
	for _, magic := range [...]string{
		"RIFF", "RIFX", "FORM", "OggS", "caff", "fLaC", "#!", "\x1a\x45\xdf\xa3", // signatures that find knows, of files that it did not recognise
		"PK\x03\x04", "PK\x05\x06", "\x1f\x8b", "BZh", "\xfd7zXZ", "7z\xbc\xaf", "Rar!", "\x28\xb5\x2f\xfd", "MSCF",
		"%PDF", "%!PS", "\xd0\xcf\x11\xe0", "{\\rtf", "SQLite format", "<!", "<?xml", "<html", "<svg",
		"\x7fELF", "MZ", "\xca\xfe\xba\xbe", "\xcf\xfa\xed\xfe", "\x00asm",
		"\x89PNG", "\xff\xd8\xff", "GIF8", "BM", "II*\x00", "MM\x00*", "8BPS", "\x00\x00\x01\x00",
		"\x00\x00\x01\xba", "\x00\x00\x01\xb3", "\x30\x26\xb2\x75", "FLV", "FWS", "CWS", "riff", ".RMF", "DKIF", "\x0b\x77",
		"wvpk", "MAC ", "TTA1", "MPCK", "MP+", "DSD ", ".snd", "MThd", "\xff\xfe", "\xfe\xff", "\xef\xbb\xbf",
	} {
		if bytes.HasPrefix(b, []byte(magic)) {
			return true
		}
	}
	box := at(b, 4, 4)
	return box == "ftyp" || box == "moov" || box == "mdat" || box == "jP  " || transportStream(b)
}

// transportStream reports whether b begins like an MPEG transport stream: packets of 188 bytes,
// which some writers prefix with a timestamp of 4 bytes (ISO/IEC 13818-1, section 2.4.3).
func transportStream(b []byte) bool {
	const packet, sync = 188, "\x47"
	return at(b, 0, 1) == sync && at(b, packet, 1) == sync && at(b, 2*packet, 1) == sync ||
		at(b, 4, 1) == sync && at(b, 4+packet+4, 1) == sync && at(b, 4+2*(packet+4), 1) == sync
}

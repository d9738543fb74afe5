package media

import "strings"

// sniffOgg recognises Ogg (RFC 3533) by the signature of its first page.
func sniffOgg(head []byte) string {
	if at(head, 0, 5) == "OggS\x00" {
		return mediaOgg
	}
	return ""
}

// soundAlone reports, by the first pages of an Ogg file, whether the file contains only audio.
// Every logical stream has one of these pages to itself. The page contains only the first header of
// the stream's codec. At least one stream must be audio, and none may be of another kind, except
// the directory of Ogg Skeleton. So Theora is refused wherever its stream begins.
func soundAlone(head []byte) (sound bool) {
	for off := 0; ; {
		packet, next, ok := firstPacket(head, off)
		switch {
		case !ok:
			return sound
		case audioHeader(packet):
			sound = true
		case !strings.HasPrefix(packet, "fishead\x00"):
			return false
		}
		off = next
	}
}

// firstPacket returns the start of the packet on the page at off and the offset of the next page;
// ok is false if the page does not begin a logical stream.
func firstPacket(head []byte, off int) (packet string, next int, ok bool) {
	page := at(head, off, oggHeader)
	if !strings.HasPrefix(page, "OggS\x00") || page[5]&oggBegins == 0 {
		return "", 0, false
	}
	body := off + oggHeader + int(page[26])
	table := at(head, off+oggHeader, int(page[26]))
	next = body
	for i := range len(table) {
		next += int(table[i])
	}
	if body >= len(head) || next == body {
		return "", 0, false
	}
	return string(head[body:min(next, body+8, len(head))]), next, true
}

// audioHeader reports whether a packet begins like a codec's identification header: Vorbis I,
// section 4.2.1; Opus, RFC 7845, section 5.1; FLAC, RFC 9639, section 10.1; Speex manual, section
// 7.3.
func audioHeader(packet string) bool {
	for _, magic := range [...]string{"\x01vorbis", "OpusHead", "\x7fFLAC", "Speex   "} {
		if strings.HasPrefix(packet, magic) {
			return true
		}
	}
	return false
}

package sniff

import "math/bits"

const (
	ebmlID    = 0x1A45DFA3 // EBML, RFC 8794, section 11.2.1
	docTypeID = 0x4282     // DocType, RFC 8794, section 11.2.6
)

// webm knows WebM by the DocType in its EBML header (RFC 8794); Matroska, whose DocType is another, is not known.
func webm(head []byte) string {
	id, body, size := element(head)
	if id != ebmlID {
		return ""
	}
	fields := head[body:]
	if size < uint64(len(fields)) {
		fields = fields[:size]
	}
	for {
		id, body, size = element(fields)
		if id == 0 || size > uint64(len(fields)-body) {
			return ""
		}
		if id == docTypeID {
			if at(fields[:body+int(size)], body, 4) == "webm" && zero(fields[body+4:body+int(size)]) {
				return "audio/webm"
			}
			return ""
		}
		fields = fields[body+int(size):]
	}
}

// element reads an element's identifier, with its length marker, where its data begins and how many bytes that has
// (RFC 8794, sections 4 to 6). The identifier is 0 where b holds none.
func element(b []byte) (id uint64, body int, size uint64) {
	id, idLen := vint(b, 4)
	if idLen == 0 {
		return 0, 0, 0
	}
	size, sizeLen := vint(b[idLen:], 8)
	if sizeLen == 0 {
		return 0, 0, 0
	}
	return id, idLen + sizeLen, size &^ (1 << (7 * sizeLen))
}

// vint reads a variable-size integer of most bytes at most, its length marker included, and its length in bytes, 0
// where there is none (RFC 8794, section 4).
func vint(b []byte, most int) (value uint64, length int) {
	if len(b) == 0 {
		return 0, 0
	}
	length = bits.LeadingZeros8(b[0]) + 1
	if length > most || length > len(b) {
		return 0, 0
	}
	for _, c := range b[:length] {
		value = value<<8 | uint64(c)
	}
	return value, length
}

// zero tells whether b holds nothing but zero bytes, which may follow an EBML string (RFC 8794, section 13).
func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

package media

const (
	ebmlID    = 0x1A45DFA3 // EBML, RFC 8794, section 11.2.1
	docTypeID = 0x4282     // DocType, RFC 8794, section 11.2.6
)

// sniffWebM recognises WebM by the DocType in its EBML header (RFC 8794). Matroska has another
// DocType, and is not recognised.
func sniffWebM(head []byte) string {
	id, body, size := element(head)
	if id != ebmlID || body > len(head) {
		return ""
	}
	fields := head[body:]
	if size < uint64(len(fields)) {
		fields = fields[:size]
	}
	for {
		id, body, size = element(fields)
		if id == 0 || body > len(fields) || size > uint64(len(fields)-body) {
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

// zero reports whether b has only zero bytes, which may follow an EBML string (RFC 8794, section
// 13).
func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

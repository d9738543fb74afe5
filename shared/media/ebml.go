package media

import "math/bits"

// element reads an element's identifier, its header's length and its data's size in bytes (RFC 8794, sections 4 to 6); a size
// that is not known is pastEnd. Where b is too short, header is how many bytes are needed; where it begins no element, id is 0.
func element(b []byte) (id uint32, header int, size uint64) {
	if len(b) == 0 {
		return 1, 1, 0
	}
	idLen := bits.LeadingZeros8(b[0]) + 1
	if idLen > 4 {
		return 0, 0, 0
	}
	if len(b) <= idLen {
		return 1, idLen + 1, 0
	}
	sizeLen := bits.LeadingZeros8(b[idLen]) + 1
	if sizeLen > 8 {
		return 0, 0, 0
	}
	header = idLen + sizeLen
	if len(b) < header {
		return 1, header, 0
	}
	size = number(b[idLen:header]) &^ (1 << (7 * sizeLen))
	if size == 1<<(7*sizeLen)-1 {
		size = pastEnd
	}
	return uint32(number(b[:idLen])), header, size
}

// number reads an unsigned integer of up to 8 bytes, the first one the greatest.
func number(b []byte) uint64 {
	var n uint64
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}

package media

import "math/bits"

// element reads the header of an EBML element: the identifier, the length of the header, and the
// size of the data in bytes (RFC 8794, sections 4 to 6). An unknown size is pastEnd. If b is too
// short, header is the number of bytes needed. If no element begins with b, id is 0.
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

// number reads a big-endian unsigned integer of up to 8 bytes.
func number(b []byte) uint64 {
	var n uint64
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}

// Flags of a block that state the lacing of its packets (RFC 9559, section 10.3).
const (
	laces     = 0x06
	laceXiph  = 0x02
	laceFixed = 0x04
)

// laced reports whether a block has several packets.
func laced(block []byte) bool {
	n := blockNumber(block)
	return n > 0 && len(block) >= n+3 && block[n+2]&laces != 0
}

// unlace splits the content of a block into packets. Without lacing, b may be only the beginning of
// the packet. A malformed block has no packets.
func unlace(lacing byte, b []byte) [][]byte {
	if lacing == 0 {
		return [][]byte{b}
	}
	if len(b) == 0 {
		return nil
	}
	count := int(b[0]) + 1
	b = b[1:]
	sizes := make([]int, 0, 256)
	for last := 0; lacing != laceFixed && len(sizes) < count-1; {
		size, n := laceSize(lacing, b, len(sizes) == 0, last)
		if n == 0 || size < 0 {
			return nil
		}
		sizes, b, last = append(sizes, size), b[n:], size
	}
	for lacing == laceFixed && len(sizes) < count-1 {
		sizes = append(sizes, len(b)/count)
	}
	packets := make([][]byte, 0, count)
	for _, size := range sizes {
		if size > len(b) {
			return nil
		}
		packets, b = append(packets, b[:size]), b[size:]
	}
	return append(packets, b)
}

// laceSize reads the size of a packet. It also returns n, the number of bytes in which the size is
// stored, or 0 if the size is malformed.
func laceSize(lacing byte, b []byte, first bool, last int) (size, n int) {
	if lacing == laceXiph {
		for n < len(b) && b[n] == 255 {
			size, n = size+255, n+1
		}
		if n == len(b) {
			return 0, 0
		}
		return size + int(b[n]), n + 1
	}
	n = blockNumber(b)
	if n == 0 || n > 4 || n > len(b) {
		return 0, 0
	}
	value := int(number(b[:n])) &^ (1 << (7 * n))
	if first {
		return value, n
	}
	return last + value - (1<<(7*n-1) - 1), n // the value is the difference from the previous size
}

package media

const (
	opusRate = 48000 // granules per second, whatever the rate of the input was (RFC 7845, section 4)
	opusMost = 5760  // maximum number of samples in a packet: 120 ms (RFC 6716, section 3.4)
)

// opusSamples returns the number of samples per channel in a packet, at opusRate, by its first two
// bytes (RFC 6716, sections 3.1 and 3.2), or 0 if they are malformed.
func opusSamples(packet []byte) int64 {
	if len(packet) == 0 {
		return 0
	}
	var frame int64
	switch config := packet[0] >> 3; {
	case config < 12: // SILK
		frame = [...]int64{480, 960, 1920, 2880}[config&3]
	case config < 16: // hybrid
		frame = [...]int64{480, 960}[config&1]
	default: // CELT
		frame = [...]int64{120, 240, 480, 960}[config&3]
	}
	frames := int64(1)
	switch packet[0] & 3 {
	case 1, 2:
		frames = 2
	case 3:
		if len(packet) < 2 {
			return 0
		}
		frames = int64(packet[1] & 63)
	}
	if frame*frames > opusMost {
		return 0
	}
	return frame * frames
}

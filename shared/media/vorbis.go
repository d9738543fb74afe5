package media

import "encoding/binary"

// vorbisSizes computes the number of samples in the packets of a Vorbis stream (Vorbis I, sections
// 4.2 and 4.3). A packet adds a quarter of its own window and a quarter of the window of the
// previous packet. The sizes of the windows are in the headers.
type vorbisSizes struct {
	windows  [2]int64 // sizes of the short and of the long window, in samples
	long     []bool   // for each mode, whether its window is long
	previous int64    // size of the previous packet's window, in samples; 0 before the first packet
}

// newVorbisSizes reads the identification and the setup header. The modes are at the end of the
// setup header, before the framing bit, which is 1. They are read backwards from that bit, since
// only a decoder can parse the fields before them.
func newVorbisSizes(identification, setup []byte) (vorbisSizes, bool) {
	v := vorbisSizes{}
	if len(identification) < 30 || string(identification[:7]) != "\x01vorbis" || len(setup) < 16 || string(setup[:7]) != "\x05vorbis" {
		return v, false
	}
	v.windows = [2]int64{1 << (identification[28] & 15), 1 << (identification[28] >> 4)}
	end := len(setup)*8 - 1
	for end > 0 && setup[end/8]>>(end%8)&1 == 0 {
		end--
	}
	const mode, most = 41, 64 // bits of a mode (a flag for its window, two numbers of 16 bits that are 0, a mapping of 8 bits), and the maximum number of modes
	for n := 1; n <= most && end-n*mode >= 8*8; n++ {
		at := end - n*mode
		if bitsAt(setup, at+1, 16) != 0 || bitsAt(setup, at+17, 16) != 0 || bitsAt(setup, at+33, 8) > 63 {
			break
		}
		if bitsAt(setup, at-6, 6)+1 == n { // the 6 bits before the modes state their number; the largest number that matches is used
			v.long = v.long[:0]
			for i := range n {
				v.long = append(v.long, bitsAt(setup, at+i*mode, 1) == 1)
			}
		}
	}
	return v, len(v.long) > 0
}

// bitsAt returns the number in n bits of b, the lowest bit first. The parameter at is the index of
// the first bit.
func bitsAt(b []byte, at, n int) (number int) {
	for i := range n {
		number |= int(b[(at+i)/8]>>((at+i)%8)&1) << i
	}
	return number
}

// samples returns how many samples the next packet adds.
func (v *vorbisSizes) samples(packet []byte) int64 {
	if len(packet) == 0 || packet[0]&1 != 0 {
		return 0
	}
	width := 0
	for 1<<width < len(v.long) {
		width++
	}
	mode := int(packet[0]>>1) & (1<<width - 1)
	if mode >= len(v.long) {
		return 0
	}
	window := v.windows[0]
	if v.long[mode] {
		window = v.windows[1]
	}
	samples := (v.previous + window) / 4
	if v.previous == 0 {
		samples = 0
	}
	v.previous = window
	return samples
}

// vorbisPrivate reads the Vorbis headers that Matroska and MP4 store with Xiph lacing.
func vorbisPrivate(b []byte) (vorbisSizes, bool) {
	if len(b) < 3 || b[0] != 2 {
		return vorbisSizes{}, false
	}
	sizes, at := [2]int{}, 1
	for i := range sizes {
		for at < len(b) && b[at] == 255 {
			sizes[i], at = sizes[i]+255, at+1
		}
		if at >= len(b) {
			return vorbisSizes{}, false
		}
		sizes[i], at = sizes[i]+int(b[at]), at+1
	}
	if at+sizes[0]+sizes[1] > len(b) {
		return vorbisSizes{}, false
	}
	return newVorbisSizes(b[at:at+sizes[0]], b[at+sizes[0]+sizes[1]:])
}

// opusPreSkip returns how many samples a decoder skips at the start of a stream, by the
// identification header of Opus.
func opusPreSkip(head []byte) int64 {
	if len(head) < 19 || string(head[:8]) != "OpusHead" {
		return 0
	}
	return int64(binary.LittleEndian.Uint16(head[10:]))
}

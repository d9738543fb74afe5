package media

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// flac reads native FLAC (RFC 9639). STREAMINFO, always the first metadata block, states the number
// of samples, unless the encoder did not know it; a file may also be truncated. So the frames are
// counted. A frame does not state its size, so the next frame is searched for: it begins with a
// header that has the right checksum and the number that follows the number of the frame before.
type flac struct {
	streamInfo
	begun  bool  // the metadata has been read
	found  int64 // number of frames found
	next   uint64
	ends   int64  // number of samples up to the end of the last frame found
	before int64  // number of samples up to the beginning of the last frame found
	sum    uint16 // CRC-16 of the bytes of the last frame that were read; 0 after a complete frame, which ends with its CRC-16
	sums   *[8][256]uint16
}

// A streamInfo is the content of a STREAMINFO block.
type streamInfo struct {
	rate     uint32 // samples per second
	channels int
	samples  uint64 // samples per channel; 0 if the encoder did not know the number
	most     uint16 // maximum number of samples in a block
}

// readStreamInfo reads the 34 bytes of a STREAMINFO block (RFC 9639, section 8.2).
func readStreamInfo(b []byte) streamInfo {
	fields := binary.BigEndian.Uint64(b[10:]) // 20 bits of sampling rate, 3 of channels, 5 of sample size, 36 of number of samples
	return streamInfo{
		rate: uint32(fields >> 44), channels: int(fields>>41&7) + 1, samples: fields & (1<<36 - 1), most: binary.BigEndian.Uint16(b[2:]),
	}
}

const (
	flacBlockHeader = 4
	flacWindow      = 4 << 10 // bytes that are searched at once; 4 KiB more are read, since a header may begin near the end of the window
)

func (f *flac) step(off int64, b []byte) (int64, int) {
	if f.begun {
		f.search(b, flacWindow)
		return off + flacWindow, 2 * flacWindow
	}
	at := int64(0)
	if off == 0 { // the file begins with the signature and STREAMINFO
		const need = 4 + flacBlockHeader + 34
		if len(b) < need {
			return off, need
		}
		if binary.BigEndian.Uint32(b[4:])&^(1<<31) != 34 {
			return stop()
		}
		f.streamInfo, at = readStreamInfo(b[8:]), 4
	}
	header := binary.BigEndian.Uint32(b[at:])
	at += flacBlockHeader + int64(header&0xFFFFFF)
	if header>>31 == 0 {
		return off + at, flacBlockHeader
	}
	f.begun, f.sums = true, crc16Table()
	return off + at, 2 * flacWindow
}

// search looks for frames that begin in b[:most], and adds these bytes to the checksum.
func (f *flac) search(b []byte, most int) {
	summed := 0
	for i := 0; i < most; {
		next := bytes.IndexByte(b[i:most], 0xFF)
		if next < 0 {
			break
		}
		i += next
		if samples, ok := f.frame(b[i:]); ok {
			f.sum, summed = 0, i
			f.found, f.before, f.ends = f.found+1, f.ends, f.ends+samples
		}
		i++
	}
	f.sum = crc16(f.sums, f.sum, b[summed:most])
}

// frame reads a frame's header (RFC 9639, section 9.1), and returns the number of samples per
// channel in the frame. ok is false unless b begins with the header of the next frame.
func (f *flac) frame(b []byte) (samples int64, ok bool) {
	if len(b) < 6 || b[1]&0xFE != 0xF8 || b[2]>>4 == 0 || b[2]&15 == 15 || b[3]>>4 > 10 || b[3]&1 != 0 {
		return 0, false
	}
	number, size := codedNumber(b[4:])
	if size == 0 {
		return 0, false
	}
	at := 4 + size
	samples, extra := flacBlock(b[2]>>4, b[at:])
	at += extra
	switch b[2] & 15 { // code of the sampling rate; for these codes the rate follows in 1 or 2 bytes
	case 12:
		at++
	case 13, 14:
		at += 2
	}
	if samples == 0 || at >= len(b) || crc8(b[:at]) != b[at] {
		return 0, false
	}
	step := uint64(1)
	if b[1]&1 != 0 { // variable block size: the number is that of the first sample, not of the frame
		step = uint64(samples)
	}
	if f.found > 0 && number != f.next {
		return 0, false
	}
	f.next = number + step
	return samples, true
}

// flacBlock returns the number of samples in a block by its code, and how many bytes of b were read
// for it; 0 samples if the code or b does not state the number.
func flacBlock(code byte, b []byte) (samples int64, size int) {
	switch {
	case code == 1:
		return 192, 0
	case code <= 5:
		return 576 << (code - 2), 0
	case code == 6 && len(b) >= 1:
		return int64(b[0]) + 1, 1
	case code == 7 && len(b) >= 2:
		return int64(binary.BigEndian.Uint16(b)) + 1, 2
	case code >= 8:
		return 256 << (code - 8), 0
	}
	return 0, 0
}

// codedNumber reads a number in the coding of UTF-8, extended to 36 bits, and returns its size in
// bytes: 0 if b begins with no such number.
func codedNumber(b []byte) (number uint64, size int) {
	ones := bits.LeadingZeros8(^b[0])
	if ones == 0 {
		return uint64(b[0]), 1
	}
	if ones == 1 || ones > 7 || ones > len(b) {
		return 0, 0
	}
	number = uint64(b[0] & (0x7F >> ones))
	for _, c := range b[1:ones] {
		if c&0xC0 != 0x80 {
			return 0, 0
		}
		number = number<<6 | uint64(c&0x3F)
	}
	return number, ones
}

// crc8 returns the checksum of a frame's header, with the polynomial x^8 + x^2 + x + 1.
func crc8(b []byte) byte {
	sum := byte(0)
	for _, c := range b {
		sum ^= c
		for range 8 {
			sum = sum<<1 ^ sum>>7*0x07
		}
	}
	return sum
}

// crc16Table returns the remainders modulo x^16 + x^15 + x^2 + 1 of every byte followed by 0 to 7
// zero bytes.
func crc16Table() *[8][256]uint16 {
	t := &[8][256]uint16{}
	for i := range t[0] {
		sum := uint16(i) << 8
		for range 8 {
			sum = sum<<1 ^ sum>>15*0x8005
		}
		t[0][i] = sum
	}
	for k := 1; k < len(t); k++ {
		for i := range t[k] {
			t[k][i] = t[k-1][i]<<8 ^ t[0][t[k-1][i]>>8]
		}
	}
	return t
}

// crc16 continues the checksum of a frame with b, eight bytes at a time.
func crc16(t *[8][256]uint16, sum uint16, b []byte) uint16 {
	for ; len(b) >= 8; b = b[8:] {
		sum = t[7][b[0]^byte(sum>>8)] ^ t[6][b[1]^byte(sum)] ^ t[5][b[2]] ^ t[4][b[3]] ^ t[3][b[4]] ^ t[2][b[5]] ^ t[1][b[6]] ^ t[0][b[7]]
	}
	for _, c := range b {
		sum = sum<<8 ^ t[0][byte(sum>>8)^c]
	}
	return sum
}

func (f *flac) describe(info *Info, _ int64, rest []byte) {
	info.Codec, info.SampleRate, info.Channels = "flac", int(f.rate), f.channels
	if f.rate == 0 || !f.begun {
		return
	}
	end := *f
	sound := rest
	if at := trailerAt(rest); at >= 0 {
		sound = rest[:at]
		info.warn(TrailingData)
	}
	end.search(sound, len(sound))
	samples := end.ends
	if told := int64(f.samples); samples != told && end.sum != 0 { // the file ends within the last frame
		samples = end.before
	}
	if int64(f.samples) > samples {
		info.warn(Truncated)
	}
	info.play(float64(samples), float64(f.rate))
}

// Package hostile makes recordings that are cheap to send and expensive to analyse. Their checksums are
// correct, so that decoders do not reject them early.
package hostile

import (
	"encoding/binary"
)

// FLACFrame is the number of samples per channel in each frame of a file that FLAC returns.
const FLACFrame = 65535

// CRC returns a checksum as FLAC uses it: with 8 bits and the polynomial 0x07, or with 16 bits and the
// polynomial 0x8005.
func CRC(b []byte, poly uint16, bits int) (sum uint16) {
	top := uint16(1) << (bits - 1)
	for _, v := range b {
		sum ^= uint16(v) << (bits - 8)
		for range 8 {
			if sum&top != 0 {
				sum = sum<<1 ^ poly
			} else {
				sum <<= 1
			}
		}
	}
	return sum & (top<<1 - 1)
}

// FLAC returns a FLAC file whose frames have a constant value in each channel, and FLACFrame samples per
// channel: 40 bytes of the file decode to 2 MB. The rate is in Hz.
func FLAC(rate, channels, frames int) []byte {
	b := []byte("fLaC\x80\x00\x00\x22")
	b = binary.BigEndian.AppendUint16(b, FLACFrame)
	b = binary.BigEndian.AppendUint16(b, FLACFrame)
	b = append(b, 0, 0, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(rate)<<44|uint64(channels-1)<<41|15<<36)
	b = append(b, make([]byte, 16)...)
	for i := range frames {
		frame := []byte{0xff, 0xf8, 0x70, byte(channels-1)<<4 | 4<<1} // sample rate as in the file's header, 16 bits per sample
		frame = append(frame, []byte(string(rune(i)))...)             // the number of the frame is coded like UTF-8
		frame = append(frame, 0xff, 0xfe)
		frame = append(frame, byte(CRC(frame, 0x07, 8)))
		for range channels {
			frame = append(frame, 0, 0x10, 0)
		}
		b = append(b, frame...)
		b = binary.BigEndian.AppendUint16(b, CRC(frame, 0x8005, 16))
	}
	return b
}

// OggPage returns an Ogg page. The body must be shorter than 255 segments of 255 bytes.
func OggPage(flags byte, number uint32, granule uint64, body []byte) []byte {
	b := append([]byte("OggS\x00"), flags)
	b = binary.LittleEndian.AppendUint64(b, granule)
	b = binary.LittleEndian.AppendUint32(b, 1)
	b = binary.LittleEndian.AppendUint32(b, number)
	b = append(b, 0, 0, 0, 0, byte(len(body)/255+1))
	for range len(body) / 255 {
		b = append(b, 255)
	}
	b = append(b, byte(len(body)%255))
	b = append(b, body...)
	var sum uint32
	for _, v := range b {
		sum ^= uint32(v) << 24
		for range 8 {
			if sum&(1<<31) != 0 {
				sum = sum<<1 ^ 0x04c11db7
			} else {
				sum <<= 1
			}
		}
	}
	binary.LittleEndian.PutUint32(b[22:], sum)
	return b
}

// Ogg returns a Vorbis file of 102 bytes that claims to have 2^32-1 comments.
func Ogg() []byte {
	head := append([]byte("\x01vorbis\x00\x00\x00\x00\x01\x44\xac\x00\x00"), "\x00\x00\x00\x00\x80\xbb\x00\x00\x00\x00\x00\x00\xb8\x01"...)
	comments := append([]byte("\x03vorbis"), 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff)
	return append(OggPage(2, 0, 0, head), OggPage(0, 1, 0, comments)...)
}

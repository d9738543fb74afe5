package decode

import (
	"encoding/binary"
	"fmt"
)

// mp3Packer rewrites MPEG 2 and 2.5 frames into MPEG 2 frames of the largest bitrate, each with its main data in its own slot, so that
// their size never needs padding. MPEG 2.5 at 11.025 and 12 kHz becomes MPEG 2 at 16 kHz: the scale factor bands are the same, only the
// rate's name differs, and the caller keeps the true one.
type mp3Packer struct {
	reservoir []byte // main data of the frames before, the newest last
	waiting   []byte // the packed frame that may still lend its free end
	free      int    // bytes at the end of waiting
}

// maxLookBack is the largest main_data_begin of MPEG 2: the field has eight bits.
const maxLookBack = 255

// pack returns the frame before, now final, and keeps this one.
func (p *mp3Packer) pack(frame []byte) ([]byte, error) {
	h := mp3Header(binary.BigEndian.Uint32(frame))
	at := 4
	if h.hasCRC() {
		at += 2
	}
	if len(frame) < at+h.sideInfo() {
		return nil, fmt.Errorf("mp3 frame of %d bytes: %w", len(frame), ErrMalformed)
	}
	side, slot := frame[at:at+h.sideInfo()], frame[at+h.sideInfo():]
	begin := int(side[0])
	var main []byte
	if begin <= len(p.reservoir) {
		main = append(append(main, p.reservoir[len(p.reservoir)-begin:]...), slot...)
		main = main[:min(len(main), (mainDataBits(h, side)+7)/8)]
	} else {
		clear(side) // the reservoir is missing: silence
	}
	p.reservoir = append(p.reservoir, slot...)
	if extra := len(p.reservoir) - maxLookBack; extra > 0 {
		p.reservoir = p.reservoir[extra:]
	}
	return p.emit(h, side, main)
}

// emit lays out one frame. What does not fit goes to the free end of the one before, as the format means it.
func (p *mp3Packer) emit(h mp3Header, side, main []byte) ([]byte, error) {
	packed := packedHeader(h)
	out := make([]byte, packed.size())
	binary.BigEndian.PutUint32(out, uint32(packed))
	copy(out[4:], side)
	slot := out[4+len(side):]
	over := max(0, len(main)-len(slot))
	if over > min(p.free, maxLookBack) {
		return nil, fmt.Errorf("mp3 frame with %d bytes of main data: %w", len(main), ErrUnsupported)
	}
	copy(p.waiting[len(p.waiting)-over:], main[:over])
	out[4] = byte(over)
	p.free = len(slot) - copy(slot, main[over:])
	done := p.waiting
	p.waiting = out
	return done, nil
}

// flush returns the last frame.
func (p *mp3Packer) flush() []byte {
	done := p.waiting
	p.waiting, p.free = nil, 0
	return done
}

// packedHeader is h as MPEG 2 with 160 kbit/s, without checksum and padding.
func packedHeader(h mp3Header) mp3Header {
	rate := h >> 10 & 3
	if h.version() == mpeg25 {
		rate = 2 // 16 kHz
	}
	return 0x7ff<<21 | mpeg2<<19 | 1<<17 | 1<<16 | 14<<12 | rate<<10 | h&0xf0
}

// mainDataBits sums part2_3_length over the channels (ISO/IEC 13818-3 section 2.4.1.7): eight bits of main_data_begin and one (mono) or
// two private bits come first, then 63 bits for each channel, of which the first twelve are the length.
func mainDataBits(h mp3Header, side []byte) int {
	sum, at := 0, 8+h.channels()
	for range h.channels() {
		for bit := at; bit < at+12; bit++ {
			if side[bit/8]>>(7-bit%8)&1 == 1 {
				sum += 1 << (at + 11 - bit)
			}
		}
		at += 63
	}
	return sum
}

package decode

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// mp3Frames feeds whole audio frames to the decoding library. It stands between file and library because the library takes a cut frame for
// the end, decodes the Xing frame as audio, reads garbage where the bit reservoir is missing, computes a padded MPEG 2 frame one byte too
// short where the length is even (which scrambles 22.05 kHz files), and refuses MPEG 2.5.
type mp3Frames struct {
	r        *bufio.Reader
	first    mp3Header
	promised int // audio frames according to the Xing frame; 0 when unknown
	seen     int
	pending  []byte // of the current frame, not yet read
	held     int    // bytes of earlier main data that the library still has
	packer   *mp3Packer
	err      error
}

// start finds the first frame and the Xing frame, if there is one.
func (m *mp3Frames) start() error {
	frame, err := m.next()
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("find first mp3 frame: %w", ErrMalformed)
	}
	if err != nil {
		return err
	}
	switch {
	case m.first.version() == mpeg25 && m.first.rate() == 8000:
		return fmt.Errorf("mp3 of MPEG 2.5 at 8 kHz: %w", ErrUnsupported) // its band tables are unknown to the library
	case m.first.version() == mpeg25, m.first.version() == mpeg2 && m.first.rate() == 22050:
		m.packer = &mp3Packer{}
	}
	if promised, ok := xingFrames(m.first, frame); ok {
		m.promised = promised
		return nil
	}
	return m.push(frame)
}

// Read implements io.Reader over the frames.
func (m *mp3Frames) Read(p []byte) (int, error) {
	for len(m.pending) == 0 {
		if m.err != nil {
			return 0, m.err
		}
		frame, err := m.next()
		if err == nil {
			err = m.push(frame)
		}
		if errors.Is(err, io.EOF) && m.seen+1 < m.promised {
			err = fmt.Errorf("mp3 ends after %d of %d frames: %w", m.seen, m.promised, ErrMalformed)
		}
		if errors.Is(err, io.EOF) && m.packer != nil {
			m.pending = m.packer.flush()
		}
		m.err = err
	}
	n := copy(p, m.pending)
	m.pending = m.pending[n:]
	return n, nil
}

// explain chooses between this reader's own error, which is the cause, and the library's.
func (m *mp3Frames) explain(err error) error {
	if m.err != nil && !errors.Is(m.err, io.EOF) {
		return m.err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		if m.seen == 0 {
			return fmt.Errorf("mp3 without audio: %w", ErrMalformed)
		}
		return io.EOF
	}
	return malformed("decode mp3 frame", err)
}

// next returns the next whole frame, skipping what is none: junk between frames, and tags at the end.
func (m *mp3Frames) next() ([]byte, error) {
	for {
		head, err := m.r.Peek(4)
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil, io.EOF
			}
			return nil, fmt.Errorf("read mp3: %w", err)
		}
		h := mp3Header(binary.BigEndian.Uint32(head))
		if h.valid() && (m.first == 0 || h&sameStream == m.first&sameStream) && m.confirmed(h) {
			if m.first == 0 {
				m.first = h
			}
			frame := make([]byte, h.size())
			if _, err := io.ReadFull(m.r, frame); err != nil {
				return nil, malformed("read mp3 frame", err)
			}
			return frame, nil
		}
		if _, err := m.r.Discard(1); err != nil {
			return nil, fmt.Errorf("read mp3: %w", err)
		}
	}
}

// confirmed says whether a frame's header is followed by another one, or the file's end or a tag, where it says. Before the first frame
// and after junk eleven set bits alone prove nothing. A frame that reaches past the end is taken, so that reading it tells of the cut,
// except as the very first.
func (m *mp3Frames) confirmed(h mp3Header) bool {
	size := h.size()
	if size < 4+h.sideInfo() {
		return false
	}
	b, err := m.r.Peek(size + 4)
	if err != nil {
		return m.first != 0 || len(b) >= size
	}
	next := b[size:]
	if mp3Header(binary.BigEndian.Uint32(next))&sameStream == h&sameStream {
		return true
	}
	return m.first != 0 && (bytes.HasPrefix(next, []byte("TAG")) || string(next) == "APET" || string(next) == "LYRI" || string(next[:3]) == "ID3")
}

// push makes a frame ready for the library.
func (m *mp3Frames) push(frame []byte) error {
	m.seen++
	if m.packer != nil {
		var err error
		m.pending, err = m.packer.pack(frame)
		return err
	}
	h := mp3Header(binary.BigEndian.Uint32(frame))
	side := 4
	if h.hasCRC() {
		side += 2
	}
	main := len(frame) - side - h.sideInfo()
	if main < 0 {
		return fmt.Errorf("mp3 frame of %d bytes: %w", len(frame), ErrMalformed)
	}
	begin, limit := mainDataBegin(h, frame[side:])
	if begin > m.held { // a recording cut out of a longer one: silence until the reservoir is filled
		clear(frame[side : side+h.sideInfo()])
		begin = min(m.held, limit)
		setMainDataBegin(h, frame[side:], begin)
	}
	m.held = begin + main
	m.pending = frame
	return nil
}

// mainDataBegin reads how far back the main data of a frame begins, and the largest value that the field can hold.
func mainDataBegin(h mp3Header, side []byte) (begin, limit int) {
	if h.version() == mpeg1 {
		return int(side[0])<<1 | int(side[1]>>7), 511
	}
	return int(side[0]), 255
}

func setMainDataBegin(h mp3Header, side []byte, begin int) {
	if h.version() == mpeg1 {
		side[0], side[1] = byte(begin>>1), side[1]&0x7f|byte(begin&1)<<7
		return
	}
	side[0] = byte(begin)
}

// xingFrames reads the frame count of a Xing or Info frame, which stands where the main data would (Gabriel Bouvigne, "Mp3 Info Tag
// rev 1"). A frame without count is recognised too.
func xingFrames(h mp3Header, frame []byte) (int, bool) {
	at := 4 + h.sideInfo()
	if len(frame) < at+12 {
		return 0, false
	}
	tag := frame[at:]
	if string(tag[:4]) != "Xing" && string(tag[:4]) != "Info" {
		return 0, false
	}
	if tag[7]&1 == 0 {
		return 0, true
	}
	return int(binary.BigEndian.Uint32(tag[8:])), true
}

// Package probe tells the playing time of audio while its bytes stream by.
//
// It guarantees:
//   - Every byte passes once, in order, and is not kept: a Meter holds the header being read, a few hundred bytes, and for Opus in
//     Ogg one page; never more than 128 KiB, whatever the size of the file.
//   - Work is linear in the bytes, whatever they claim: a Meter follows a file's own structure from one header to the
//     next and only ever forwards.
//   - A playing time is what the file says or nothing: a header's field, or a count of all its frames, or its bytes at the constant rate
//     that a header states; never a guess from a part of it. Where the bytes can contradict a header (WAV, AIFF, CAF, the frames of MP3),
//     they are believed. The silence that encoders add in front and behind is left out where the file tells how long it
//     is, and else counts, as it does in a decoder.
//   - Any input is safe: a Meter never fails and never panics.
//
// The format is known from the bytes, so that a wrong media type cannot lead a reader astray.
package probe

import "time"

const (
	// Longest is the longest playing time that is believed.
	Longest = 100 * time.Hour

	magicSize = 12        // bytes that decide which format is read
	mostBytes = 64 << 10  // the most bytes that a reader may ask for at once; an Ogg page has 65307 at most
	pastEnd   = 1<<62 - 1 // offsets from here on are refused, so that no sum of two overflows
)

// A reader follows one format through a file.
type reader interface {
	// step is given exactly the bytes that were asked for, found at off, and asks for the next: want bytes at next, which is
	// further on, or at the same place where it is for more bytes. A want of 0 ends the walk. The first call has
	// magicSize bytes at 0. Where the file ends before what was asked for, there is no further call.
	step(off int64, b []byte) (next int64, want int)

	// seconds is the playing time of the file, which turned out to have size bytes; 0 or anything absurd where it is not told.
	seconds(size int64) float64
}

// A Meter is an io.Writer that sees every byte of an upload once and then tells how long it plays. It is not for concurrent use.
type Meter struct {
	size   int64 // as expected; negative: not known
	seen   int64
	reader reader

	next int64 // where buf begins
	want int   // how many bytes buf is to hold; 0: nothing more is wanted
	buf  []byte
}

// New returns a Meter for an upload of size bytes, negative where that is not known beforehand.
func New(size int64) *Meter {
	return &Meter{size: size, want: magicSize}
}

// Write takes the next bytes of the upload. It always takes all of them and never returns an error.
func (m *Meter) Write(p []byte) (int, error) {
	n := len(p)
	for m.want > 0 {
		if skip := m.next - m.seen; skip > 0 {
			skip = min(skip, int64(len(p)))
			p, m.seen = p[skip:], m.seen+skip
		}
		if more := min(m.want-len(m.buf), len(p)); more > 0 {
			m.buf = append(m.buf, p[:more]...)
			p, m.seen = p[more:], m.seen+int64(more)
		}
		if len(m.buf) < m.want {
			return n, nil
		}
		m.step()
	}
	m.seen += int64(len(p))
	return n, nil
}

// Duration returns the playing time, and whether the file tells one. Ask after the last byte: before, and where more or fewer
// bytes came than were expected, nothing is told.
func (m *Meter) Duration() (time.Duration, bool) {
	if m.reader == nil || m.size >= 0 && m.seen != m.size {
		return 0, false
	}
	seconds := m.reader.seconds(m.seen)
	if !(seconds > 0 && seconds <= Longest.Seconds()) { // so written, NaN is refused
		return 0, false
	}
	return time.Duration(seconds*float64(time.Second) + 0.5), true
}

// step hands the reader what it asked for, and keeps of it what it asks for again.
func (m *Meter) step() {
	if m.reader == nil {
		m.reader = open(m.buf)
	}
	next, want := m.reader.step(m.next, m.buf[:m.want])
	forward := next > m.next || next == m.next && want > m.want
	if want <= 0 || want > mostBytes || next >= pastEnd || !forward {
		m.want, m.buf = 0, nil
		return
	}
	if skip := next - m.next; skip < int64(len(m.buf)) {
		m.buf = m.buf[:copy(m.buf, m.buf[skip:])]
	} else {
		m.buf = m.buf[:0]
	}
	m.next, m.want = next, want
}

// open returns the reader for a file that begins with magic.
func open(magic []byte) reader {
	switch string(magic[:4]) {
	case "RIFF", "RF64", "BW64":
		return &wave{}
	case "FORM":
		return &aiff{}
	case "caff":
		return &caf{}
	case "OggS":
		return &ogg{}
	case "\x1a\x45\xdf\xa3":
		return &webm{}
	case "#!AM":
		return &amr{}
	}
	if string(magic[4:8]) == "ftyp" {
		return &mp4{}
	}
	return &framed{}
}

// stop is what a step returns that wants nothing more.
func stop() (next int64, want int) { return 0, 0 }

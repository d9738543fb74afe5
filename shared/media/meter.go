package media

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

	// describe fills in what is known of the sound.
	describe(info *Info)

	// seconds is the playing time of the file, which turned out to have size bytes; 0 or anything absurd where it is not told.
	seconds(size int64) float64
}

// A Meter is an io.Writer that sees every byte of an upload once and then tells how long it plays. It is not for concurrent use.
type Meter struct {
	size   int64 // as expected; negative: not known
	seen   int64
	reader reader
	info   Info // what is known of the container

	next int64 // where buf begins
	want int   // how many bytes buf is to hold; 0: nothing more is wanted
	buf  []byte
}

// NewMeter returns a Meter for an upload of size bytes, negative where that is not known beforehand.
func NewMeter(size int64) *Meter {
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

// Info returns what was found. It is final after the last byte. Before that, and where more or fewer bytes came than were
// expected, no duration is known.
func (m *Meter) Info() Info {
	if m.reader == nil {
		return Info{}
	}
	info := m.info
	m.reader.describe(&info)
	if m.size >= 0 && m.seen != m.size {
		return info
	}
	seconds := m.reader.seconds(m.seen)
	if seconds > 0 && seconds <= Longest.Seconds() { // so written, NaN is refused
		info.Duration, info.DurationKnown = time.Duration(seconds*float64(time.Second)+0.5), true
	}
	return info
}

// step hands the reader what it asked for, and keeps of it what it asks for again.
func (m *Meter) step() {
	if m.reader == nil {
		m.reader, m.info = open(m.buf)
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

// open returns the reader for a file that begins with magic, and the container's name and media type.
func open(magic []byte) (reader, Info) {
	switch string(magic[:4]) {
	case "RIFF", "RF64", "BW64":
		return &wave{}, Info{Container: "wav", MediaType: "audio/wav"}
	case "FORM":
		return &aiff{}, Info{Container: "aiff", MediaType: "audio/aiff"}
	case "caff":
		return &caf{}, Info{Container: "caf", MediaType: "audio/x-caf"}
	case "OggS":
		return &ogg{}, Info{Container: "ogg", MediaType: "audio/ogg"}
	case "\x1a\x45\xdf\xa3":
		return &webm{}, Info{Container: "webm", MediaType: "audio/webm"}
	case "#!AM":
		return &amr{}, Info{Container: "amr", MediaType: "audio/amr"}
	}
	if string(magic[4:8]) == "ftyp" {
		return &mp4{}, Info{Container: "mp4", MediaType: "audio/mp4"}
	}
	return &framed{}, Info{}
}

// stop is what a step returns that wants nothing more.
func stop() (next int64, want int) { return 0, 0 }

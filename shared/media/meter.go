package media

import (
	"slices"
	"time"
)

const (
	// Longest is the longest duration that Info reports. A longer one counts as not known.
	Longest = 100 * time.Hour

	magicSize = 12        // bytes that the first call of reader.step gets
	mostBytes = 64 << 10  // maximum number of bytes that a reader may request at once; an Ogg page has at most 65307
	pastEnd   = 1<<62 - 1 // offsets from here on are refused, so that the sum of two cannot overflow
)

// A reader parses one container incrementally: it receives bytes, and returns which bytes it needs
// next. Offsets count from the beginning of the container.
type reader interface {
	// step reads b, which contains exactly the requested bytes and begins at off. It requests
	// further bytes: want bytes from the offset next on. next must be greater than off, or equal if
	// want is greater than before. A want of 0 ends the reading. The first call has magicSize bytes
	// at offset 0. If the file ends before the requested bytes, step is not called again.
	step(off int64, b []byte) (next int64, want int)

	// describe sets the fields of info for a file of size bytes; rest contains those of the
	// requested bytes that the file has. describe does not change the reader.
	describe(info *Info, size int64, rest []byte)
}

// A Meter probes an audio file: it is an io.Writer that gets every byte of the file once and then
// describes the file. It is not safe for concurrent use.
type Meter struct {
	size   int64 // expected size of the file; negative: not known
	seen   int64
	base   int64 // byte at which the container begins, after tags and junk
	reader reader
	found  found

	next  int64  // offset of buf in the file
	want  int    // how many bytes buf must have for the next step; 0: no more bytes are needed
	buf   []byte // bytes that are not parsed yet; a slice of store
	store []byte
}

// NewMeter returns a Meter for a file of size bytes. A negative size means that the size is not
// known.
func NewMeter(size int64) *Meter {
	return &Meter{size: size, want: HeadSize}
}

// Write reads the next bytes of the file. It always reads all of p and never returns an error.
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

// Info returns what is known about the file so far. After the last byte the result is final. The
// duration is not known if the number of written bytes differs from the size of the file.
func (m *Meter) Info() Info {
	end := *m
	if end.reader == nil { // no container yet: the file, or its part after tags, is shorter than HeadSize
		end.buf, end.store = slices.Clone(m.buf), nil
		for end.reader == nil && len(end.buf) > 0 && end.want > 0 {
			end.step()
		}
		for end.want > 0 && len(end.buf) >= end.want {
			end.step()
		}
	}
	if end.reader == nil {
		return Info{}
	}
	info := Info{MediaType: end.found.mediaType, Container: end.found.container}
	if end.found.junk {
		info.warn(LeadingJunk)
	}
	rest := end.buf
	if end.want == 0 {
		rest = nil
	}
	end.reader.describe(&info, end.seen-end.base, rest)
	if info.Duration <= 0 || info.Duration > Longest || m.size >= 0 && m.seen != m.size {
		info.Duration, info.DurationKnown = 0, false
	}
	return info
}

// step passes the requested bytes to the reader. Before there is a reader, step searches for a
// container.
func (m *Meter) step() {
	if m.reader != nil {
		next, want := m.reader.step(m.next-m.base, m.buf[:m.want])
		m.advance(m.base+next, want)
		return
	}
	if size := tagSize(m.buf, m.next > 0); size > 0 {
		m.advance(m.next+size, HeadSize)
		return
	}
	f, ok := find(m.buf)
	if !ok {
		m.advance(0, 0)
		return
	}
	m.found, m.reader, m.base = f, open(f.mediaType), m.next+int64(f.off)
	if movie, ok := m.reader.(*mp4); ok {
		movie.shifted = m.base > 0
	}
	if f.off == 0 {
		m.want = magicSize
		return
	}
	m.advance(m.base, magicSize)
}

// advance drops the bytes of the buffer before next, and makes room for want bytes.
func (m *Meter) advance(next int64, want int) {
	forward := next > m.next || next == m.next && want > m.want
	if want <= 0 || want > mostBytes || next >= pastEnd || !forward {
		m.want, m.buf, m.store = 0, nil, nil
		return
	}
	if skip := next - m.next; skip < int64(len(m.buf)) {
		m.buf = m.buf[skip:]
	} else {
		m.buf = m.store[:0]
	}
	if cap(m.buf) < want {
		m.store = append(make([]byte, 0, max(want, 1<<10)), m.buf...)
		m.buf = m.store
	}
	m.next, m.want = next, want
}

// stop returns the result of a step that needs no more bytes.
func stop() (next int64, want int) { return 0, 0 }

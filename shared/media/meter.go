package media

import (
	"slices"
	"time"
)

const (
	// Longest is the longest playing time that is believed.
	Longest = 100 * time.Hour

	magicSize = 12        // bytes that a reader is given first
	mostBytes = 64 << 10  // the most bytes that a reader may ask for at once; an Ogg page has 65307 at most
	pastEnd   = 1<<62 - 1 // offsets from here on are refused, so that no sum of two overflows
)

// A reader follows one container through a file. Offsets count from where the container begins.
type reader interface {
	// step is given exactly the bytes that were asked for, found at off, and asks for the next: want bytes at next, which is
	// further on, or at the same place where it is for more bytes. A want of 0 ends the walk. The first call has
	// magicSize bytes at 0. Where the file ends before what was asked for, there is no further call.
	step(off int64, b []byte) (next int64, want int)

	// describe fills in what is known of the sound of a file that has size bytes; rest is what there is of the bytes that
	// step was asked for. It changes nothing.
	describe(info *Info, size int64, rest []byte)
}

// A Meter is an io.Writer that sees every byte of a file once and then describes it. It is not for concurrent use.
type Meter struct {
	size   int64 // as expected; negative: not known
	seen   int64
	base   int64 // where the container begins, behind tags and junk
	reader reader
	found  found

	next  int64  // where buf begins
	want  int    // how many bytes buf is to hold; 0: nothing more is wanted
	buf   []byte // a part of store
	store []byte
}

// NewMeter returns a Meter for a file of size bytes, negative where that is not known beforehand.
func NewMeter(size int64) *Meter {
	return &Meter{size: size, want: HeadSize}
}

// Write takes the next bytes of the file. It always takes all of them and never returns an error.
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

// Info returns what was found. It is final after the last byte; before that it tells what is known so far. Where more or
// fewer bytes came than were expected, no duration is known.
func (m *Meter) Info() Info {
	end := *m
	if end.reader == nil { // the whole file is shorter than a head, or what follows its tags is
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

// step hands the reader what it asked for. As long as there is none, it looks for a container.
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

// advance keeps of the buffer what is asked for again.
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

// stop is what a step returns that wants nothing more.
func stop() (next int64, want int) { return 0, 0 }

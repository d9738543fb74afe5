package media

import "encoding/binary"

// Flags of a fragment's boxes (ISO/IEC 14496-12, sections 8.8.7 and 8.8.8).
const (
	runOffset     = 0x000001
	runFirstFlags = 0x000004
	runDuration   = 0x000100
	runSize       = 0x000200
	runFlags      = 0x000400
	runTime       = 0x000800

	fragmentBase        = 0x000001
	fragmentDescription = 0x000002
	fragmentDuration    = 0x000008
	fragmentSize        = 0x000010

	mostFragment = 6 << 10 // maximum number of packets of a fragment that are kept, to count the complete packets of a truncated file
)

// An mp4Fragment counts the packets of the audio track in all fragments.
type mp4Fragment struct {
	trackDuration, trackSize uint32 // default duration and size of a packet of the track
	duration, size           uint32 // default duration and size of a packet of this fragment
	mine                     bool   // the fragment belongs to the audio track
	start                    int64  // byte from which the offsets in the fragment are counted
	count, ticks             int64  // number and duration of the packets in earlier fragments

	at      int64 // byte at which the next packet begins
	last    []fragmentPacket
	several bool // the fragment has more packets than last contains
	now     int64
	nowTick int64
	opus    opusPackets
}

type fragmentPacket struct {
	at    int64 // byte at which the packet begins
	size  uint32
	ticks uint32
}

func (p fragmentPacket) end() int64 { return p.at + int64(p.size) }

// opusPackets measures the Opus packets of fragments. The header of each packet states its
// duration. The durations in the fragment's table (trun) are not used: browsers write there the
// times between the arrivals of packets.
type opusPackets struct {
	read    int   // number of packets of this fragment that were read
	heard   int64 // number of samples in the packets that were read, in all fragments
	lastEnd int64 // byte at which the last packet ends
	several bool  // the last packet has several frames
	unknown bool  // the duration of at least one packet is not known
}

// packetBefore returns the offset of the next packet and how many of its bytes to read; ok is false
// if no packet begins before end. A packet that begins before off can no longer be read, so the
// duration becomes unknown.
func (f *mp4Fragment) packetBefore(off, end int64) (next int64, want int, ok bool) {
	o := &f.opus
	for ; o.read < len(f.last); o.read++ {
		p := f.last[o.read]
		if p.at >= end {
			break
		}
		if p.at >= off && p.size > 0 {
			return p.at, int(min(p.size, 2)), true
		}
		o.unknown = o.unknown || p.size > 0
	}
	return 0, 0, false
}

// takePacket reads the beginning of the packet that packetBefore returned.
func (f *mp4Fragment) takePacket(b []byte) {
	o := &f.opus
	samples := opusSamples(b)
	o.lastEnd, o.several = f.last[o.read].end(), b[0]&3 != 0
	o.heard, o.unknown = o.heard+samples, o.unknown || samples == 0
	o.read++
}

// heardOf returns the number of samples in the Opus packets of a file of size bytes; ok is false if
// the number is not known. Decoders play a truncated last packet if it has one frame. If it has
// several frames, the number of frames that play depends on where the file ends.
func (f *mp4Fragment) heardOf(size int64) (samples int64, ok bool) {
	o := &f.opus
	missed := o.read < len(f.last) && f.last[o.read].at < size
	return o.heard, !missed && !o.unknown && !f.several && (o.lastEnd <= size || !o.several)
}

// begin starts to count a fragment, whose box begins at off.
func (f *mp4Fragment) begin(off int64) {
	f.count, f.ticks = f.count+f.now, min(f.ticks+f.nowTick, pastEnd)
	f.opus.unknown = f.opus.unknown || f.several // packets that last does not contain were not read
	f.now, f.nowTick, f.last, f.several, f.start, f.mine, f.opus.read = 0, 0, f.last[:0], false, off, false, 0
}

// header reads the header of a track fragment (tfhd); track is the id of the audio track.
func (f *mp4Fragment) header(b []byte, track uint32) {
	be := binary.BigEndian
	if f.mine = len(b) >= 8 && track != 0 && be.Uint32(b[4:]) == track; !f.mine {
		return
	}
	f.duration, f.size = f.trackDuration, f.trackSize
	flags, rest := be.Uint32(b), b[8:]
	for _, field := range [...]struct {
		flag uint32
		size int
	}{{fragmentBase, 8}, {fragmentDescription, 4}, {fragmentDuration, 4}, {fragmentSize, 4}} {
		if flags&field.flag == 0 {
			continue
		}
		if len(rest) < field.size {
			return
		}
		switch value := number(rest[:field.size]); field.flag {
		case fragmentBase:
			f.start = int64(min(value, pastEnd))
		case fragmentDuration:
			f.duration = uint32(value)
		case fragmentSize:
			f.size = uint32(value)
		}
		rest = rest[field.size:]
	}
	f.at = f.start
}

// run begins a run of packets (trun); fields are the optional fields of its header.
func (f *mp4Fragment) run(count int64, flags uint32, fields []byte) {
	if !f.mine {
		return
	}
	if flags&runOffset != 0 && len(fields) >= 4 {
		f.at = f.start + int64(int32(binary.BigEndian.Uint32(fields)))
	}
	if flags&(runDuration|runSize|runFlags|runTime) != 0 {
		return
	}
	each := min(count, int64(mostFragment-len(f.last))) // the run has no table: all packets have the default duration and size
	for range each {
		f.take(f.duration, f.size)
	}
	if more := count - each; more > 0 {
		f.several = true
		f.now, f.nowTick, f.at = f.now+more, min(f.nowTick+more*int64(f.duration), pastEnd), min(f.at+more*int64(f.size), pastEnd)
	}
}

// packet counts the packet that a row of a run's table (trun) describes.
func (f *mp4Fragment) packet(flags uint32, row []byte) {
	if !f.mine {
		return
	}
	duration, size := f.duration, f.size
	if flags&runDuration != 0 {
		duration, row = binary.BigEndian.Uint32(row), row[4:]
	}
	if flags&runSize != 0 {
		size = binary.BigEndian.Uint32(row)
	}
	f.take(duration, size)
}

func (f *mp4Fragment) take(duration, size uint32) {
	f.now, f.nowTick = f.now+1, min(f.nowTick+int64(duration), pastEnd)
	if f.several = f.several || len(f.last) == mostFragment; !f.several {
		f.last = append(f.last, fragmentPacket{f.at, size, duration})
	}
	f.at = min(f.at+int64(size), pastEnd)
}

// whole returns the number of complete packets in a file of size bytes and their duration in ticks;
// ok is false if they are not known.
func (f *mp4Fragment) whole(size int64) (count, ticks int64, ok bool) {
	if f.at <= size {
		return f.count + f.now, f.ticks + f.nowTick, true
	}
	if f.several {
		return 0, 0, false
	}
	count, ticks = f.count, f.ticks
	for _, p := range f.last {
		if p.end() > size {
			break
		}
		count, ticks = count+1, ticks+int64(p.ticks)
	}
	return count, ticks, true
}

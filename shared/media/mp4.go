package media

import "encoding/binary"

// mp4 reads the ISO base media file format (ISO/IEC 14496-12) and QuickTime files. It counts the
// samples of the first audio track in the movie box, wherever that is, and in the fragments.
// Samples that the edit list leaves out do not count.
type mp4 struct {
	movieScale   uint32   // units per second
	entry        mp4Track // the track being read
	audio, other mp4Track // the first audio track, and the first track of another kind
	fragment     mp4Fragment
	table        mp4Table
	dataEnd      int64 // end of the last media data box, as its size states
	metaEnd      int64 // end of the last metadata box
	userEnd      int64 // end of the last user data box
	priming      int64 // samples to skip at the start of the sound, as the iTunes field iTunSMPB states
	itunes       bool  // the last metadata name that was read is iTunSMPB
	shifted      bool  // other bytes precede the file, so that its chunk offsets are wrong
	trailing     bool  // a tag follows the boxes
	lost         bool  // reading stopped at bytes that are no box
}

const (
	boxHeader = 8
	mostEntry = 4 << 10 // number of bytes that are read of a sample description
	untilEnd  = pastEnd // end of a box whose size is 0: it lasts to the end of the file
)

func (m *mp4) step(off int64, b []byte) (int64, int) {
	if m.table.left > 0 {
		return m.rows(off, b)
	}
	if off < m.dataEnd { // b is the Opus packet that data has requested
		m.fragment.takePacket(b)
		return m.data(off)
	}
	if off < m.userEnd && off+boxHeader > m.userEnd { // QuickTime's user data may end with 4 bytes that are 0
		return m.userEnd, boxHeader
	}
	if off == 0 && len(b) > boxHeader {
		b = b[:boxHeader]
	}
	size, header := uint64(binary.BigEndian.Uint32(b)), boxHeader
	if size == 1 { // a size of 64 bits follows (section 4.2)
		if header = 16; len(b) < header {
			return off, header
		}
		size = binary.BigEndian.Uint64(b[8:])
	}
	kind := string(b[4:8])
	if trailer(b) || size < uint64(header) && size != 0 || size >= pastEnd {
		m.trailing = trailer(b)
		m.lost = !m.trailing
		return stop()
	}
	if size == 0 { // the box lasts to the end of the file
		m.dataEnd = untilEnd
		return stop()
	}
	switch kind {
	case "trak", "mvex", "moof", "mdat":
		m.finish()
	}
	return m.open(kind, off, header, size, b)
}

// open enters a container box, reads the beginning of another box, or skips it.
func (m *mp4) open(kind string, off int64, header int, size uint64, b []byte) (int64, int) {
	end := off + int64(size)
	switch kind {
	case "moof":
		m.fragment.begin(off)
		return off + int64(header), boxHeader
	case "udta":
		m.userEnd = end
		return off + int64(header), boxHeader
	case "moov", "trak", "mdia", "minf", "stbl", "edts", "mvex", "traf", "ilst", "----": // these boxes contain boxes
		return off + int64(header), boxHeader
	case "meta":
		return m.openMeta(off, header, size, b)
	case "hdlr":
		if off < m.metaEnd { // the handler of metadata, not that of a track
			return end, boxHeader
		}
	case "mdat":
		m.dataEnd = end
		return m.data(off + int64(header))
	case "stts", "stsz", "stsc", "stco", "co64", "elst", "trun":
		return m.openTable(kind, off, header, size, b)
	}
	need := header + int(min(boxReach(kind), size-uint64(header)))
	if len(b) < need {
		return off, need
	}
	m.box(kind, b[header:need])
	return end, boxHeader
}

// openMeta enters a metadata box. It begins with a version and flags (section 8.11.1), but not in
// QuickTime files, nor in those that Android records. The first box in it is its handler.
func (m *mp4) openMeta(off int64, header int, size uint64, b []byte) (int64, int) {
	m.metaEnd = off + int64(size)
	if size < uint64(header+boxHeader) {
		return m.metaEnd, boxHeader
	}
	if len(b) < header+boxHeader {
		return off, header + boxHeader
	}
	at := off + int64(header)
	if string(b[header+4:header+boxHeader]) != "hdlr" {
		at += 4
	}
	return at, boxHeader
}

// data requests the next Opus packet of a fragment at or after off, or, after the last one, the box
// after the media data.
func (m *mp4) data(off int64) (next int64, want int) {
	if m.audio.codec == "opus" {
		if next, want, ok := m.fragment.packetBefore(off, m.dataEnd); ok {
			return next, want
		}
	}
	return m.dataEnd, boxHeader
}

// boxReach returns how many bytes are read at the start of the data of a box.
func boxReach(kind string) uint64 {
	switch kind {
	case "mvhd", "mdhd", "tkhd", "hdlr", "trex", "tfhd":
		return 32
	case "stsd":
		return mostEntry
	case "name", "data":
		return 128
	}
	return 0
}

// box reads the beginning of a box's data.
func (m *mp4) box(kind string, b []byte) {
	be := binary.BigEndian
	switch {
	case kind == "mvhd":
		m.movieScale = timeScale(b)
	case kind == "mdhd":
		m.entry.scale = timeScale(b)
	case kind == "tkhd" && len(b) >= 24:
		m.entry.id = be.Uint32(b[12:])
		if b[0] == 1 {
			m.entry.id = be.Uint32(b[20:])
		}
	case kind == "hdlr" && len(b) >= 12 && m.entry.handler == "":
		m.entry.handler = string(b[8:12])
	case kind == "stsd" && m.entry.codec == "":
		m.entry.describe(b)
	case kind == "trex" && len(b) >= 20:
		if be.Uint32(b[4:]) == m.audio.id {
			m.fragment.trackDuration, m.fragment.trackSize = be.Uint32(b[12:]), be.Uint32(b[16:])
		}
	case kind == "tfhd":
		m.fragment.header(b, m.audio.id)
	case kind == "name" && len(b) >= 4:
		m.itunes = string(b[4:]) == "iTunSMPB"
	case kind == "data" && len(b) > 8 && m.itunes:
		m.priming, m.itunes = itunesPriming(string(b[8:])), false
	}
}

// timeScale returns the time scale in the header of a movie or of a track's media (sections 8.2.2
// and 8.4.2).
func timeScale(b []byte) uint32 {
	at := 12
	if len(b) > 0 && b[0] == 1 {
		at = 20
	}
	if len(b) < at+4 {
		return 0
	}
	return binary.BigEndian.Uint32(b[at:])
}

// finish ends the description of a track, and keeps the track if it is the first of its kind.
func (m *mp4) finish() {
	switch {
	case m.entry.handler == "soun" && m.audio.handler == "":
		m.audio = m.entry
	case m.entry.codec != "" && m.entry.handler != "soun" && m.other.handler == "":
		m.other = mp4Track{handler: m.entry.handler, codec: m.entry.codec}
	}
	m.entry = mp4Track{}
}

func (m *mp4) describe(info *Info, size int64, _ []byte) {
	end := *m
	end.finish() // the last track ends with the file if no box follows it
	track := &end.audio
	if m.trailing {
		info.warn(TrailingData)
	}
	if m.lost {
		info.warn(Damaged)
	}
	if track.handler == "" {
		info.Codec = end.other.codec
		return
	}
	info.Codec, info.SampleRate, info.Channels = track.codec, track.rate, track.channels
	if m.dataEnd > size && m.dataEnd != untilEnd {
		info.warn(Truncated)
	}
	switch track.codec {
	case "opus", "amr_nb", "amr_wb", "ac3", "eac3": // a decoder plays all of the last packet, even if its duration in stts is shorter
		if track.scale != 0 && track.frame == 0 {
			track.frame = track.firstStep * int64(track.rate) / int64(track.scale)
		}
	case "vorbis": // a decoder plays the last packet, but no field states its length
		return
	}
	count, ticks, ok := track.whole(size, m.dataEnd > size && m.dataEnd != untilEnd)
	lost := m.shifted && count > 0 && pcmBytes(track.codec) == 0 // if the chunk offsets are wrong, only the duration of PCM is known
	if !ok || track.scale == 0 || lost {
		return
	}
	total := track.seconds(count, ticks)
	if track.codec == "opus" {
		heard, all := m.fragment.heardOf(size)
		total, ok = total+float64(heard)/opusRate, all
	} else {
		more, moreTicks, all := m.fragment.whole(size)
		total, ok = total+track.seconds(more, moreTicks), all
	}
	if ok {
		info.play(track.audible(total, count > 0, end.movieScale, m.priming), 1)
	}
}

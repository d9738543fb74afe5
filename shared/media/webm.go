package media

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// webm reads WebM and Matroska (RFC 8794 and RFC 9559): the segment's duration where it is told. A browser that records does not
// know it when it writes the header; then the blocks of the first audio track are followed, if that is Opus, whose packets
// tell how long they are.
type webm struct {
	scale    uint64  // nanoseconds of a tick; 0: 1000000
	duration float64 // ticks

	entry, audio webmTrack // the track being described, and the one that counts
	cluster      uint64    // ticks at which the cluster begins
	started      bool      // a block of the track was met
	untold       bool      // one that does not tell its length
	start, end   float64   // nanoseconds
}

type webmTrack struct {
	number, kind, delay uint64 // delay: nanoseconds to leave out in front
	opus                bool
}

// Element identifiers (RFC 9559, section 5.1), with their length markers.
const (
	webmSegment      = 0x18538067
	webmInfo         = 0x1549A966
	webmScale        = 0x2AD7B1
	webmDuration     = 0x4489
	webmTracks       = 0x1654AE6B
	webmTrackEntry   = 0xAE
	webmTrackNumber  = 0xD7
	webmTrackType    = 0x83
	webmCodecID      = 0x86
	webmCodecDelay   = 0x56AA
	webmCluster      = 0x1F43B675
	webmTimestamp    = 0xE7
	webmBlockGroup   = 0xA0
	webmBlock        = 0xA1
	webmSimpleBlock  = 0xA3
	webmTrackIsAudio = 2
	leastElement     = 2  // bytes of an element's header at least
	blockReach       = 14 // bytes of a block that hold all that is read: number, time, flags, a packet's beginning
)

func (w *webm) step(off int64, b []byte) (int64, int) {
	id, header, size := element(b)
	if header > len(b) {
		return off, header
	}
	need := 0
	switch id {
	case 0:
		return stop()
	case webmCluster:
		w.track()
		if w.duration > 0 {
			return stop()
		}
		return off + int64(header), leastElement
	case webmTrackEntry:
		w.track()
		return off + int64(header), leastElement
	case webmSegment, webmInfo, webmTracks, webmBlockGroup: // their elements follow, whatever size they tell
		return off + int64(header), leastElement
	case webmScale, webmDuration, webmTrackNumber, webmTrackType, webmCodecID, webmCodecDelay, webmTimestamp:
		need = 8
	case webmBlock, webmSimpleBlock:
		need = blockReach
	}
	if size >= pastEnd {
		return stop()
	}
	if need = header + int(min(uint64(need), size)); len(b) < need {
		return off, need
	}
	w.field(id, b[header:need])
	return off + int64(header) + int64(size), leastElement
}

// field takes an element's data, of 8 bytes or a block's beginning.
func (w *webm) field(id uint32, b []byte) {
	switch id {
	case webmScale:
		w.scale = number(b)
	case webmDuration:
		switch len(b) {
		case 4:
			w.duration = float64(math.Float32frombits(binary.BigEndian.Uint32(b)))
		case 8:
			w.duration = math.Float64frombits(binary.BigEndian.Uint64(b))
		}
	case webmTrackNumber:
		w.entry.number = number(b)
	case webmTrackType:
		w.entry.kind = number(b)
	case webmCodecID:
		w.entry.opus = string(b) == "A_OPUS"
	case webmCodecDelay:
		w.entry.delay = number(b)
	case webmTimestamp:
		w.cluster = number(b)
	case webmBlock, webmSimpleBlock:
		w.block(b)
	}
}

// track ends the description of a track.
func (w *webm) track() {
	if w.entry.kind == webmTrackIsAudio && w.audio.kind == 0 {
		w.audio = w.entry
	}
	w.entry = webmTrack{}
}

// block takes the beginning of a block (RFC 9559, section 10.1): the track, the time after the cluster's, flags, and a packet.
func (w *webm) block(b []byte) {
	if len(b) == 0 {
		return
	}
	n := bits.LeadingZeros8(b[0]) + 1
	if len(b) < n+3 || number(b[:min(n, 8)])&^(1<<(7*n)) != w.audio.number {
		return
	}
	const lacing = 0x06
	samples := opusSamples(b[n+3:])
	w.untold = w.untold || samples == 0 || b[n+2]&lacing != 0
	ticks := float64(w.cluster) + float64(int16(binary.BigEndian.Uint16(b[n:])))
	at := ticks * w.tick()
	if !w.started {
		w.started, w.start = true, at
	}
	w.end = max(w.end, at+float64(samples)*1e9/opusRate)
}

// tick is how long a tick is, in nanoseconds.
func (w *webm) tick() float64 {
	if w.scale == 0 {
		return 1e6
	}
	return float64(w.scale)
}

func (w *webm) seconds(int64) float64 {
	if w.duration > 0 {
		return w.duration * w.tick() / 1e9
	}
	if !w.started || w.untold || !w.audio.opus {
		return 0
	}
	return (w.end - w.start - float64(w.audio.delay)) / 1e9
}

func (w *webm) describe(*Info) {}

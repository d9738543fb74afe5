package media

import (
	"encoding/binary"
	"math"
	"math/bits"
	"strings"
)

// webm reads WebM (RFC 8794 and RFC 9559) by following the blocks of the first audio track. Packets
// of Opus and of Vorbis state their own length. For other codecs the duration is not known.
type webm struct {
	entry, audio, other webmTrack // the track being read, the first audio track, and the first one of another kind
	vorbis              vorbisSizes
	blocks              int64 // blocks of the audio track that were read
	mine                bool  // the last block that was read belongs to the audio track
	unknown             bool  // the length of at least one block is not known
	samples             int64 // samples in the blocks of the audio track
	last, end           int64 // samples in the last block, and the byte at which it ends
	discard             int64 // nanoseconds to discard at the end of the sound
	unskipped           bool  // the first block has padding to discard: a decoder then skips nothing at the start of the sound
	lost                bool  // reading stopped at bytes that are no element
}

type webmTrack struct {
	number, kind, delay uint64 // delay: nanoseconds to skip at the start of the sound
	codec               string // Matroska's identifier of the codec
	rate                float64
	channels            uint64
	private             []byte
}

// Element identifiers (RFC 9559, section 5.1), with their length markers.
const (
	webmSegment      = 0x18538067
	webmInfo         = 0x1549A966
	webmTracks       = 0x1654AE6B
	webmTrackEntry   = 0xAE
	webmTrackNumber  = 0xD7
	webmTrackType    = 0x83
	webmCodecID      = 0x86
	webmCodecPrivate = 0x63A2
	webmCodecDelay   = 0x56AA
	webmAudio        = 0xE1
	webmRate         = 0xB5
	webmChannels     = 0x9F
	webmCluster      = 0x1F43B675
	webmBlockGroup   = 0xA0
	webmBlock        = 0xA1
	webmSimpleBlock  = 0xA3
	webmDiscard      = 0x75A2
	webmTrackIsAudio = 2
	leastElement     = 2        // the smallest number of bytes in an element's header
	blockReach       = 14       // number of bytes that are read of a block without lacing: track number, time, flags, start of the packet
	mostPrivate      = 32 << 10 // maximum number of bytes that are read of a codec's headers
)

func (w *webm) step(off int64, b []byte) (int64, int) {
	id, header, size := element(b)
	if header > len(b) {
		return off, header
	}
	need := 0
	switch id {
	case 0:
		w.lost = true
		return stop()
	case webmCluster, webmTrackEntry:
		w.track()
		return off + int64(header), leastElement
	case webmSegment, webmInfo, webmTracks, webmBlockGroup, webmAudio: // elements that contain elements are entered, whatever their size
		return off + int64(header), leastElement
	case webmTrackNumber, webmTrackType, webmCodecDelay, webmRate, webmChannels, webmDiscard:
		need = 8
	case webmCodecID:
		need = 32
	case webmCodecPrivate:
		need = mostPrivate
	case webmBlock, webmSimpleBlock:
		need = blockReach
	}
	if size >= pastEnd {
		return stop()
	}
	if need = header + int(min(uint64(need), size)); len(b) < need {
		return off, need
	}
	if id == webmBlock || id == webmSimpleBlock {
		if whole := header + int(min(size, mostBytes)); laced(b[header:]) && len(b) < whole {
			return off, whole
		}
		w.block(b[header:], off+int64(header)+int64(size))
	} else {
		w.field(id, b[header:need])
	}
	return off + int64(header) + int64(size), leastElement
}

// field reads b, the data of the element with the identifier id.
func (w *webm) field(id uint32, b []byte) {
	switch id {
	case webmTrackNumber:
		w.entry.number = number(b)
	case webmTrackType:
		w.entry.kind = number(b)
	case webmCodecID:
		w.entry.codec = strings.TrimRight(string(b), "\x00")
	case webmCodecPrivate:
		w.entry.private = append([]byte(nil), b...)
	case webmCodecDelay:
		w.entry.delay = number(b)
	case webmRate:
		w.entry.rate = float(b)
	case webmChannels:
		w.entry.channels = number(b)
	case webmDiscard:
		if w.mine && len(b) > 0 {
			w.unskipped = w.unskipped || w.blocks == 1
			w.discard += int64(number(b)<<(64-8*len(b))) >> (64 - 8*len(b)) // DiscardPadding is a signed number
		}
	}
}

// track ends the description of a track, and keeps the track if it is the first of its kind.
func (w *webm) track() {
	switch {
	case w.entry.kind == webmTrackIsAudio && w.audio.kind == 0:
		w.audio = w.entry
		if w.audio.codec == "A_VORBIS" {
			w.vorbis, _ = vorbisPrivate(w.audio.private)
		}
		w.audio.private = w.audio.private[:min(len(w.audio.private), 64)]
	case w.entry.kind != 0 && w.other.kind == 0:
		w.other = w.entry
		w.other.private = nil
	}
	w.entry = webmTrack{}
}

// block reads a block (RFC 9559, section 10.1): the number of the track, the time relative to the
// cluster, flags, and packets. If the block has no lacing, b may be only its beginning. end is the
// offset in the file at which the block ends.
func (w *webm) block(b []byte, end int64) {
	n := blockNumber(b)
	if n == 0 || len(b) < n+3 || number(b[:n])&^(1<<(7*n)) != w.audio.number {
		w.mine = false
		return
	}
	w.blocks, w.mine, w.last, w.end = w.blocks+1, true, 0, end
	for _, packet := range unlace(b[n+2]&laces, b[n+3:]) {
		switch w.audio.codec {
		case "A_OPUS":
			samples := opusSamples(packet)
			w.unknown = w.unknown || samples == 0
			w.last += samples
		case "A_VORBIS":
			w.last += w.vorbis.samples(packet)
		}
	}
	w.samples += w.last
}

// blockNumber returns the size in bytes of the track number that b begins with, or 0 if b begins
// with no number.
func blockNumber(b []byte) int {
	if len(b) == 0 || b[0] == 0 {
		return 0
	}
	return bits.LeadingZeros8(b[0]) + 1
}

func (w *webm) describe(info *Info, size int64, _ []byte) {
	if w.entry.kind != 0 { // the last track ends with the file if no cluster follows
		end := *w
		end.track()
		w = &end
	}
	track := w.audio
	if track.kind == 0 {
		track = w.other
	}
	info.Codec, info.SampleRate, info.Channels = matroskaCodec(track.codec), int(track.rate), int(track.channels)
	if w.audio.kind == 0 {
		info.SampleRate, info.Channels = 0, 0
		return
	}
	samples := w.samples
	if w.end > size { // the file ends within the last block
		info.warn(Truncated)
		samples -= w.last
	}
	discard := float64(w.discard) / 1e9
	switch {
	case w.lost:
		info.warn(Damaged)
	case info.Codec == "opus" && w.blocks > 0 && !w.unknown:
		info.SampleRate = opusRate
		skip := float64(w.audio.delay) / 1e9
		if head := opusPreSkip(w.audio.private); head > 0 {
			skip = float64(head) / opusRate
		}
		if w.unskipped {
			skip = 0
		}
		info.play(float64(samples)/opusRate-skip-discard, 1)
	case info.Codec == "vorbis" && w.blocks > 0 && w.audio.rate > 0:
		info.play(float64(samples)/w.audio.rate-discard, 1)
	}
}

// float reads a floating point number of 4 or 8 bytes.
func float(b []byte) float64 {
	switch len(b) {
	case 4:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(b)))
	case 8:
		return math.Float64frombits(binary.BigEndian.Uint64(b))
	}
	return 0
}

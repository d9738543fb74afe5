package media

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"strings"
)

// An mp4Track is the description of a track in the movie box.
type mp4Track struct {
	id       uint32
	handler  string // handler type of the track, "soun" for sound
	scale    uint32 // ticks per second
	codec    string // name of the codec
	rate     int    // samples per second
	channels int
	frame    int64 // samples per packet, at the sampling rate in rate; 0: stts has the durations
	skip     int64 // samples that a decoder skips at the start of the sound

	count     int64 // number of packets
	ticks     int64 // duration of all packets
	firstStep int64 // duration of the first packet, in ticks

	edited    bool
	mediaTime int64 // tick at which the audible part begins
	duration  int64 // duration of the audible part, in units of the movie's time scale; 0: not stated

	size    uint32   // bytes in every packet; 0 if the packets differ in size (sizes)
	sizes   []uint32 // sizes of the first packets, in bytes
	runs    []chunkRun
	offsets []int64 // offsets of the first chunks
	chunks  int64   // number of all chunks
}

// A chunkRun is a row of stsc: the number of the first chunk in a run of chunks, and the number of
// packets in each of them.
type chunkRun struct{ first, packets uint32 }

// describe reads the sample descriptions (ISO/IEC 14496-12, section 8.5.2). Only the first one
// counts.
func (t *mp4Track) describe(b []byte) {
	const entry = 8
	if len(b) < entry+8 {
		return
	}
	b = b[entry:]
	be := binary.BigEndian
	letters := string(b[4:8])
	if size := be.Uint32(b); uint64(size) < uint64(len(b)) {
		b = b[:size]
	}
	if t.handler != "soun" && t.handler != "" {
		t.codec = filmCodec(letters)
		return
	}
	t.codec = printable(letters)
	if len(b) < 36 {
		return
	}
	version, bits := be.Uint16(b[16:]), int(be.Uint16(b[26:]))
	t.channels, t.rate = int(be.Uint16(b[24:])), int(be.Uint16(b[32:]))
	if version == 2 && len(b) >= 72 { // QuickTime's version 2, for values that do not fit the fields above
		t.rate, t.channels, bits = int(float(b[40:48])), int(be.Uint32(b[48:])), int(be.Uint32(b[56:]))
	}
	t.codec = appleCodec(letters, bits)
	t.extend(letters, b, bits)
	switch t.codec {
	case "amr_nb", "amr_wb":
		t.channels = 1
	case "aac":
		if t.frame == 0 {
			t.frame = 1024
		}
	case "mp3":
		t.frame = 1152
		if t.rate < 32000 {
			t.frame = 576
		}
	}
}

// extend reads further details of the codec from the boxes inside a sample description. The
// parameter letters is the four-character code of the codec.
func (t *mp4Track) extend(letters string, b []byte, bits int) {
	switch letters {
	case "mp4a":
		if at := bytes.Index(b, []byte("esds")); at >= 0 && len(b) > at+8 {
			t.elementary(b[at+8:])
		}
	case "in24", "in32", "fl32", "fl64":
		if at := bytes.Index(b, []byte("enda")); at >= 0 && len(b) >= at+6 && b[at+5] == 1 {
			t.codec = strings.TrimSuffix(t.codec, "be") + "le"
		}
	case "lpcm":
		t.codec = quickTimePCM(b, bits)
	case "samr", "sawb":
		// The durations in stts are not used if the number of frames in a packet is known (3GPP TS
		// 26.244, section 6.7): Android writes there the times between packets.
		const framesAt, framesPerSecond = 4 + 8, 50
		if at := bytes.Index(b, []byte("damr")); at >= 0 && len(b) > at+framesAt {
			t.frame = int64(b[at+framesAt]) * int64(t.rate) / framesPerSecond
		}
	case "Opus":
		t.rate = opusRate
		if at := bytes.Index(b, []byte("dOps")); at >= 0 && len(b) >= at+8 {
			t.skip = int64(binary.BigEndian.Uint16(b[at+6:]))
		}
	}
}

// quickTimePCM returns the name of a codec by the flags of a sound description of version 2.
func quickTimePCM(b []byte, bits int) string {
	const float, big = 1, 2
	if len(b) < 64 {
		return "lpcm"
	}
	flags, kind, order := binary.BigEndian.Uint32(b[60:]), "s", "le"
	if flags&float != 0 {
		kind = "f"
	}
	if flags&big != 0 {
		order = "be"
	}
	return "pcm_" + kind + strconv.Itoa(bits) + order
}

// elementary reads the descriptors of an elementary stream (ISO/IEC 14496-1, section 7.2.6). They
// state the codec, which may be any codec if the sample description has the code mp4a, and for AAC
// the number of samples in a frame.
func (t *mp4Track) elementary(b []byte) {
	for len(b) > 2 {
		tag, at, size := b[0], 1, 0
		for more := true; more && at < len(b) && at < 5; at++ {
			size, more = size<<7|int(b[at]&0x7F), b[at]&0x80 != 0
		}
		b = b[at:]
		switch {
		case tag == 3 && len(b) >= 3: // ES_Descriptor, which contains the other descriptors
			skip := 3
			if b[2]&0x80 != 0 {
				skip += 2
			}
			b = b[min(skip, len(b)):]
		case tag == 4 && len(b) >= 13: // DecoderConfigDescriptor
			t.codec = objectCodec(b[0])
			b = b[13:]
		case tag == 5:
			if t.codec == "aac" {
				t.audioConfig(b[:min(size, len(b))])
			}
			return
		default:
			b = b[min(size, len(b)):]
		}
	}
}

// objectCodec returns the name of a codec by its object type, as registered at mp4ra.org.
func objectCodec(object byte) string {
	switch object {
	case 0x40, 0x66, 0x67, 0x68:
		return "aac"
	case 0x69, 0x6B:
		return "mp3"
	case 0xA5:
		return "ac3"
	case 0xA6:
		return "eac3"
	case 0xA9, 0xAA, 0xAB, 0xAC:
		return "dts"
	case 0xAD:
		return "opus"
	case 0xDD:
		return "vorbis"
	case 0xE1:
		return "qcelp"
	}
	return "mp4a-0x" + strconv.FormatUint(uint64(object), 16)
}

// audioConfig reads an AudioSpecificConfig (ISO/IEC 14496-3, section 1.6.2.1).
func (t *mp4Track) audioConfig(b []byte) {
	r := bitReader{b: b}
	object, rate := r.objectType(), r.samplingRate()
	channels := r.take(4)
	core, frame := rate, 1024
	const sbr, ps, lowDelay, enhancedLowDelay, als, usac = 5, 29, 23, 39, 36, 42
	if object == sbr || object == ps {
		if object == ps {
			channels = 2
		}
		rate, object = r.samplingRate(), r.objectType()
	}
	switch object {
	case als:
		t.codec, t.frame = "mp4als", 0
		return
	case usac:
		t.codec = "usac"
		return
	case lowDelay, enhancedLowDelay:
		frame = 512
	}
	if r.take(1) == 1 { // a frame has 960 or 480 samples instead of 1024 or 512
		frame -= frame / 16
	}
	if core == 0 || rate == 0 {
		return
	}
	t.rate, t.frame = rate, int64(frame*rate/core)
	if channels == 7 {
		channels = 8
	}
	if channels > 0 && channels <= 8 {
		t.channels = channels
	}
}

// A bitReader reads numbers, the highest bit first. After the end of b it reads zeros.
type bitReader struct {
	b  []byte
	at int
}

func (r *bitReader) take(n int) (number int) {
	for range n {
		number <<= 1
		if r.at < len(r.b)*8 {
			number |= int(r.b[r.at/8]>>(7-r.at%8)) & 1
		}
		r.at++
	}
	return number
}

func (r *bitReader) objectType() int {
	if object := r.take(5); object != 31 {
		return object
	}
	return 32 + r.take(6)
}

func (r *bitReader) samplingRate() int {
	if index := r.take(4); index != 15 {
		return adtsRate(uint32(index))
	}
	return r.take(24)
}

// itunesPriming returns the second number of the field iTunSMPB: how many samples to skip at the
// start of the sound.
func itunesPriming(text string) int64 {
	const most = 16384
	fields := strings.Fields(text)
	if len(fields) < 4 {
		return 0
	}
	n, err := strconv.ParseInt(fields[1], 16, 64)
	if err != nil || n < 0 || n >= most {
		return 0
	}
	return n
}

// seconds returns the duration in seconds of packets that last for ticks.
func (t *mp4Track) seconds(packets, ticks int64) float64 {
	if t.frame == 0 || t.rate == 0 {
		return float64(ticks) / float64(t.scale)
	}
	return float64(packets*t.frame) / float64(t.rate)
}

// audible returns how many seconds of the total are audible; inMovie is true if the movie box has
// packets.
func (t *mp4Track) audible(total float64, inMovie bool, movieScale uint32, priming int64) float64 {
	skip := float64(t.skip) / opusRate
	if t.codec == "aac" && t.rate > 0 {
		skip = float64(priming) / float64(t.rate)
	}
	if t.edited && inMovie {
		skip = float64(t.mediaTime) / float64(t.scale)
		if step := t.seconds(1, t.firstStep); t.duration > 0 && movieScale > 0 && step > 0 {
			end := skip + float64(t.duration)/float64(movieScale)
			total = min(total, ceil(end/step)*step)
		}
	}
	return total - skip
}

// ceil rounds up, but ignores a rounding error of up to 1e-6.
func ceil(x float64) float64 {
	whole := float64(int64(x))
	if x-whole > 1e-6 {
		return whole + 1
	}
	return whole
}

// filmCodec returns the name of a codec of video or text.
func filmCodec(letters string) string {
	switch letters {
	case "avc1", "avc3":
		return "h264"
	case "hvc1", "hev1":
		return "hevc"
	case "vp08", "vp09":
		return "vp" + letters[3:]
	case "av01":
		return "av1"
	case "mp4v":
		return "mpeg4"
	case "tx3g", "text":
		return "mov_text"
	}
	return printable(letters)
}

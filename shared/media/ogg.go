package media

import (
	"bytes"
	"encoding/binary"
)

// ogg reads Ogg (RFC 3533) by following its pages. The last granule position of the first audio
// stream is its end. The links of a chained file play one after the other, if they have the same
// codec and one stream each; a decoder continues from link to link as if they were one. A stream
// that was cut out of a longer one begins at a later position than 0. If that position is not
// known, the duration is not known.
type ogg struct {
	played   float64 // seconds that the earlier links play
	begins   bool    // the last page that was read begins a stream
	lost     bool    // reading stopped at bytes that are no page
	trailing bool    // reading stopped at a tag
	links    int     // number of links before this one
	streams  int     // number of streams in the first link
	over     bool    // a decoder does not play the link that was read last, nor later ones
	unlike   bool    // a link differs from the previous one, so that the duration is not known
	first    oggLink
	link     oggLink
}

// An oggLink is the first audio stream in one link of a chain.
type oggLink struct {
	codec  byte // a letter for the codec, see identify; 0: no audio stream yet
	serial uint32
	rate   uint32 // granules per second
	skip   int64  // granules to skip at the start of the sound
	most   int64  // maximum number of granules in a packet

	channels      int
	packets       int64 // number of packets that end after the first page
	packetsBefore int64 // number of packets that end after the first page, but not on the last page
	headers       int64 // number of packets without sound after the first page

	joined bool   // a decoder keeps its state from the previous link
	tail   []byte // end of the Vorbis headers

	identification []byte // identification header of Vorbis

	overlap int64 // granules that the first packet of a joined link plays, since a packet of the previous link precedes it
	unlike  bool  // the link differs from the previous one, and it is not known how a decoder plays the change
	started bool  // a page with sound was read
	unknown bool  // the position at which the sound begins is not known
	start   int64 // granule position at which the sound begins
	before  int64 // granule position at the end of the page before the last
	last    int64 // granule position at the end of the last page
	end     int64 // byte at which the last page ends
}

const (
	oggHeader    = 27   // bytes before a page's segment table (RFC 3533, section 6)
	oggContinued = 0x01 // flags in the header_type of a page
	oggBegins    = 0x02
	oggEnds      = 0x04
	codecReach   = 80 // number of bytes that are read of an identification header
)

func (o *ogg) step(off int64, b []byte) (int64, int) {
	if len(b) < oggHeader {
		return off, oggHeader
	}
	if string(b[:5]) != "OggS\x00" {
		o.trailing = trailer(b)
		o.lost = !o.trailing
		return stop()
	}
	body := oggHeader + int(b[26])
	if len(b) < body {
		return off, body
	}
	size := body
	for _, n := range b[oggHeader:body] {
		size += int(n)
	}
	return o.page(off, b, body, size)
}

// page reads a page of size bytes, whose header is b[:body].
func (o *ogg) page(off int64, b []byte, body, size int) (int64, int) {
	need, mine := body, binary.LittleEndian.Uint32(b[14:]) == o.link.serial && o.link.codec != 0
	granule := int64(binary.LittleEndian.Uint64(b[6:]))
	begins := b[5]&oggBegins != 0
	first := mine && !begins && !o.link.started && granule > 0
	headers := mine && !first && !o.link.started && o.link.codec == 'V' && o.link.joined
	switch {
	case begins:
		need = min(size, body+codecReach)
	case first && o.link.codec == 'O', headers:
		need = size
	case first && size > body:
		need = body + 1
	}
	if len(b) < need {
		return off, need
	}
	switch {
	case begins:
		o.begin(b[14:18], b[body:])
	case first:
		o.link.first(granule, b[5], b[oggHeader:body], b[body:need])
	case headers:
		o.link.header(b[body:need])
	}
	if o.over {
		return stop()
	}
	if o.begins = begins; mine {
		o.link.packetsBefore = o.link.packets
		o.link.packets += packetsEnding(b[oggHeader:body])
		o.link.before, o.link.end = o.link.last, off+int64(size)
		if !begins && granule >= 0 {
			o.link.last = granule
		}
	}
	return off + int64(size), oggHeader
}

// begin reads a page that begins a stream. The pages that begin a stream come first in each link.
// So a page that begins a stream after other pages begins the next link of the chain.
func (o *ogg) begin(serial, packet []byte) {
	before := o.link
	if !o.begins {
		if o.link.codec != 0 {
			if o.links == 0 {
				o.first = o.link
			}
			o.links++
		}
		o.played += o.link.seconds(pastEnd)
		o.link = oggLink{}
	}
	if o.link.codec == 0 && o.link.identify(packet) {
		o.link.serial = binary.LittleEndian.Uint32(serial)
	}
	if o.links == 0 {
		o.streams++
	} else if !o.begins && !o.link.join(before, o.streams) {
		o.over, o.link = true, oggLink{}
	}
	o.unlike = o.unlike || o.link.unlike
}

// join continues from the previous link, before. It returns false if a decoder does not continue;
// streams is the number of streams in the first link.
func (l *oggLink) join(before oggLink, streams int) bool {
	if same := l.serial == before.serial; l.codec != before.codec || streams > 1 && !same {
		return false
	} else if same { // a decoder treats the codec's header as sound, and ignores the number of samples to skip in it
		l.skip = 0
	}
	l.joined = true
	if l.codec != 'O' && (l.rate != before.rate || !bytes.Equal(l.identification, before.identification) || l.channels != before.channels) {
		l.unlike = true
	}
	return true
}

// header reads a page with Vorbis headers, and keeps the last bytes of the headers. They contain
// the modes, which determine the number of samples in a packet.
func (l *oggLink) header(body []byte) {
	const kept = 512
	l.tail = append(l.tail, body...)
	l.tail = bytes.Clone(l.tail[max(0, len(l.tail)-kept):])
}

// overlapped returns how many samples the first packet of a joined link plays: half of its window.
func (l *oggLink) overlapped(packet []byte) int64 {
	sizes, ok := newVorbisSizes(l.identification, append([]byte("\x05vorbis"), l.tail...))
	if !ok {
		l.unknown = true
	}
	sizes.samples(packet) // sets the window of the previous packet; returns 0, since there was no previous packet
	return sizes.samples(packet)
}

// describe fills in the codec of the first link, and the duration of all links.
func (o *ogg) describe(info *Info, size int64, _ []byte) {
	first := o.link
	if o.links > 0 {
		first = o.first
	}
	info.Codec, info.SampleRate, info.Channels = first.name(), int(first.rate), first.channels
	if o.trailing {
		info.warn(TrailingData)
	}
	if o.lost {
		info.warn(Damaged)
		return
	}
	if o.link.codec != 0 && o.link.end > size {
		info.warn(Truncated)
	}
	if !o.unlike {
		info.play(o.played+o.link.seconds(size), 1)
	}
}

// name returns the name of the codec.
func (l *oggLink) name() string {
	switch l.codec {
	case 'V':
		return "vorbis"
	case 'O':
		return "opus"
	case 'F':
		return "flac"
	case 'S':
		return "speex"
	}
	return ""
}

// identify reads an identification header: Vorbis I, section 4.2.2; Opus, RFC 7845, section 5.1;
// FLAC, RFC 9639, section 10.1; Speex manual, section 7.3.
func (l *oggLink) identify(packet []byte) bool {
	le, begins := binary.LittleEndian, func(magic string, size int) bool {
		return len(packet) >= size && string(packet[:len(magic)]) == magic
	}
	switch {
	case begins("\x01vorbis", 30):
		l.codec, l.rate, l.most, l.channels = 'V', le.Uint32(packet[12:]), 1<<(packet[28]>>4), int(packet[11])
		l.identification = bytes.Clone(packet[:30])
	case begins("OpusHead", 19):
		l.codec, l.rate, l.most, l.channels = 'O', opusRate, opusMost, int(packet[9])
		l.skip = int64(le.Uint16(packet[10:]))
	case begins("\x7fFLAC", 51):
		i := readStreamInfo(packet[17:])
		l.codec, l.rate, l.most, l.channels = 'F', i.rate, int64(i.most), i.channels
	case begins("Speex   ", 72):
		l.codec, l.rate, l.channels = 'S', le.Uint32(packet[36:]), int(le.Uint32(packet[48:]))
		l.most = int64(le.Uint32(packet[56:])&0xFFFF) * max(1, int64(le.Uint32(packet[64:])&0xFFFF))
		l.headers = 1 + int64(le.Uint32(packet[68:])&0xFFFF)
	}
	return l.codec != 0
}

// packetsEnding returns how many packets end on a page, by its segment table.
func packetsEnding(lacing []byte) (n int64) {
	for _, size := range lacing {
		if size < 255 {
			n++
		}
	}
	return n
}

// first reads the first page with sound, to find the position at which the sound begins; granule is
// the granule position at the end of the page. Opus packets state their own length (RFC 7845,
// section 4.3). For the other codecs, and for a packet that began on an earlier page, only the
// largest possible length of a packet is known. On the last page of a stream, the granule position
// may lie within the last packet.
func (l *oggLink) first(granule int64, flags byte, lacing, body []byte) {
	l.started = true
	var packets, samples int64
	size := 0 // bytes of the current packet so far
	exact := l.codec == 'O' && flags&oggContinued == 0
	for _, n := range lacing {
		size += int(n)
		if n == 255 {
			continue
		}
		packets++
		if exact {
			samples += opusSamples(body[:size])
			body, size = body[size:], 0
		}
	}
	switch {
	case !exact:
		l.unknown = granule > packets*l.most
	case flags&oggEnds != 0:
		l.unknown = granule > samples
	default:
		l.start = max(0, granule-samples)
	}
	if l.joined && l.codec == 'V' && len(body) > 0 {
		l.overlap = l.overlapped(body[:1])
	}
}

func (l *oggLink) seconds(size int64) float64 {
	last, packets := l.last, l.packets
	if l.end > size { // the file ends within the last page
		last, packets = l.before, l.packetsBefore
	}
	if l.rate == 0 {
		return 0
	}
	if l.codec == 'S' { // in Speex every packet plays its full length
		return float64(max(0, packets-l.headers)*l.most) / float64(l.rate)
	}
	if !l.started || l.unknown || last < l.start+l.skip {
		return 0
	}
	return float64(last-l.start-l.skip+l.overlap) / float64(l.rate)
}

package media

import (
	"bytes"
	"encoding/binary"
)

// ogg reads Ogg (RFC 3533) by following its pages: the last granule position of the first audio stream tells where it ends.
// Chained files play one link after the other, as long as they are of one codec and have but one stream each; a decoder
// goes on from one to the next as if they were one. A stream that was cut out of a longer one begins later than at 0; where that
// beginning is not told, nothing is.
type ogg struct {
	played   float64 // seconds of the links before this one
	begins   bool    // the pages that begin this link's streams are being met
	lost     bool    // something else than a page was met
	trailing bool    // a tag was
	links    int     // before this one
	streams  int     // in this link
	over     bool    // what follows is not decoded
	unlike   bool    // a link is unlike the one before
	first    oggLink
	link     oggLink
}

// An oggLink is the first audio stream in one link of a chain.
type oggLink struct {
	codec  byte // its packet's first letters, see identify; 0: no audio stream yet
	serial uint32
	rate   uint32 // granules a second
	skip   int64  // granules to leave out in front
	most   int64  // granules that a packet has at most

	channels      int
	packets       int64 // that ended
	packetsBefore int64 // and before the last page
	headers       int64 // packets that hold no sound, behind the first page

	joined bool   // to the link before, whose state a decoder keeps
	tail   []byte // of the headers of Vorbis

	identification []byte // of Vorbis

	overlap int64 // granules that it plays more, since the first packet is not the first
	unlike  bool  // to the link before: how much a decoder plays of the change is not known
	started bool  // a page with sound was met
	unknown bool  // where the sound begins is not known
	start   int64 // granules at which the sound begins
	before  int64 // where the page before the last ends
	last    int64 // where the last one ends
	end     int64 // byte at which the last page ends
}

const (
	oggHeader    = 27   // bytes before a page's segment table (RFC 3533, section 6)
	oggContinued = 0x01 // header_type flags
	oggBegins    = 0x02
	oggEnds      = 0x04
	codecReach   = 80 // bytes of an identification header that hold all that is read
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

// page takes a page of size bytes, of which body are its header.
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

// begin takes a page that begins a stream. Such pages stand together; one that stands after others begins the next link of a chain.
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

// join goes on from the link before, of which there were so many streams, and tells whether a decoder does so.
func (l *oggLink) join(before oggLink, streams int) bool {
	if same := l.serial == before.serial; l.codec != before.codec || streams > 1 && !same {
		return false
	} else if same { // its header is taken for sound, and what it says is not seen
		l.skip = 0
	}
	l.joined = true
	if l.codec != 'O' && (l.rate != before.rate || !bytes.Equal(l.identification, before.identification) || l.channels != before.channels) {
		l.unlike = true
	}
	return true
}

// header takes a page with headers of Vorbis, of which the end is kept: it tells what packets are like.
func (l *oggLink) header(body []byte) {
	const kept = 512
	l.tail = append(l.tail, body...)
	l.tail = bytes.Clone(l.tail[max(0, len(l.tail)-kept):])
}

// overlapped is how many samples the first packet of a link plays that is joined to one before: half of its window.
func (l *oggLink) overlapped(packet []byte) int64 {
	sizes, ok := newVorbisSizes(l.identification, append([]byte("\x05vorbis"), l.tail...))
	if !ok {
		l.unknown = true
	}
	sizes.samples(packet) // that of no predecessor, which plays nothing
	return sizes.samples(packet)
}

// ogg describes the first link; all of them play.
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

// name is the codec's.
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

// identify reads an identification header: Vorbis I, section 4.2.2; Opus, RFC 7845, section 5.1; FLAC, RFC 9639, section 10.1;
// Speex manual, section 7.3.
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

// packetsEnding is how many packets end on a page, by its segment table.
func packetsEnding(lacing []byte) (n int64) {
	for _, size := range lacing {
		if size < 255 {
			n++
		}
	}
	return n
}

// first takes the first page with sound, which ends at granule, to find where the sound begins. Opus packets tell how long they are (RFC
// 7845, section 4.3); of the others, and of one that began on an earlier page, it is only known how long they can be. A
// stream's last page may end within a packet.
func (l *oggLink) first(granule int64, flags byte, lacing, body []byte) {
	l.started = true
	var packets, samples int64
	size := 0 // bytes of the packet so far
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
	if l.end > size { // the last page was cut
		last, packets = l.before, l.packetsBefore
	}
	if l.rate == 0 {
		return 0
	}
	if l.codec == 'S' { // every packet plays as long as it can
		return float64(max(0, packets-l.headers)*l.most) / float64(l.rate)
	}
	if !l.started || l.unknown || last < l.start+l.skip {
		return 0
	}
	return float64(last-l.start-l.skip+l.overlap) / float64(l.rate)
}

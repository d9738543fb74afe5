package media

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"
	"testing"
	"time"
)

// A ruling is a file that tests one rule, and its expected duration. If want is 0, the duration
// must be unknown.
type ruling struct {
	name string
	file []byte
	want time.Duration
}

func check(t *testing.T, rulings []ruling) {
	t.Helper()
	for _, r := range rulings {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			expect(t, r.file, r.want, 0)
		})
	}
}

func TestWave(t *testing.T) {
	t.Parallel()
	const second = 16000 // bytes per second
	whole := wav(1, 8000, second, second)
	check(t, []ruling{
		{"whole", whole, time.Second},
		{"a size of 0 is up to the end", wav(1, 8000, 0, second), time.Second},
		{"a size past the end is up to the end", wav(1, 8000, 1<<31, second), time.Second},
		{"chunks behind the data are no sound", join(whole, le32("LIST", 4), []byte("INFO")), time.Second},
		{"chunks in front, of odd size", join(whole[:12], le32("junk", 3), []byte("abc\x00"), whole[12:]), time.Second},
		{"empty", fix(wav(1, 8000, 0, 0), 4, 36), 0},
		{"empty, and a chunk behind", fix(join(wav(1, 8000, 0, 0), le32("LIST", 4), []byte("INFO")), 4, 48), 0},
		{"a sampling rate of 0", wav(1, 0, second, second), 0},
		{"a rate so low that it plays for days", wav(1, 1, 800_000, 800_000), 0},
		{"frames that do not fit their channels", fix(whole, 32, 16<<16|3), 7998 * time.Second / 8000},
		{"frames of no size", fix(whole, 32, 16<<16), time.Second},
		{"a coding with a constant rate", wav(0x31, 8000, second, second), time.Second},
		{"a coding without a rate", fix(wav(0x31, 8000, second, second), 28, 0), 0},
		{"data before its format", join(whole[:12], whole[36:], whole[12:36]), 0},
		{"large, with a size larger than numbers", join([]byte("RF64\xff\xff\xff\xffWAVE"), le32("ds64", 28),
			bytes.Repeat([]byte{0xFF}, 28), whole[12:36], le32("data", ones32), whole[44:]), time.Second},
		{"avi", join([]byte("RIFF\x24\x00\x00\x00AVI "), whole[12:]), 0},
	})
}

func TestAIFF(t *testing.T) {
	t.Parallel()
	whole := recording(t, "piped.aiff")
	head, common, sound := whole[:12], whole[0x2e:0x48], whole[0x48:]
	told := fix(fixBE(common, 10, 5000), 0, binary.LittleEndian.Uint32([]byte("COMM")))
	sized := fixBE(sound, 4, 8+10000)
	check(t, []ruling{
		{"the sound before the description", join(head, sized, told), 312500 * time.Microsecond},
		{"fewer frames told than there are", join(head, fixBE(common, 10, 1600), sound), 312500 * time.Microsecond},
		{"no sound", join(head, told), 0},
		{"a negative rate", join(head, fixBE(told, 16, 0xC00CFA00), sound), 0},
		{"an infinite rate", join(head, fixBE(told, 16, 0x7FFFFA00), sound), 0},
		{"no channels", join(head, fixBE(told, 8, 5000>>16), sound), 0},
		{"an unknown coding", bytes.Replace(recording(t, "alaw.aifc"), []byte("alaw"), []byte("QDM2"), 1), 0},
	})
}

func TestCAF(t *testing.T) {
	t.Parallel()
	alac := recording(t, "alac.caf")
	table, packets := bytes.Index(alac, []byte("pakt")), bytes.Index(alac, []byte("data"))
	more := bytes.Clone(alac)
	more[table+19]++
	front := join(alac[:packets], alac[table:], alac[packets:table])
	pcm := recording(t, "pcm.caf")
	nan := bytes.Clone(pcm)
	binary.BigEndian.PutUint64(nan[20:], math.Float64bits(math.NaN()))
	check(t, []ruling{
		{"the table behind the data", alac, 100 * time.Millisecond},
		{"the table in front", front, 100 * time.Millisecond},
		{"the table in front, and the data is cut", front[:len(front)-1], 0},
		{"more packets than the table has", more, 0},
		{"packets of no fixed size and no table", bytes.Replace(alac, []byte("pakt"), []byte("free"), 1), 0},
		{"a rate that is no number", nan, 0},
	})
}

func TestFLAC(t *testing.T) {
	t.Parallel()
	whole := recording(t, "mono.flac")
	silent := bytes.Clone(whole)
	silent[18], silent[19], silent[20] = 0, 0, 0
	check(t, []ruling{
		{"behind a large tag", join(id3(1<<20), whole), 312500 * time.Microsecond},
		{"a rate of 0", silent, 0},
		{"no stream info", fixBE(whole, 4, 0x04000022), 0},
	})
}

func TestMPEG(t *testing.T) {
	t.Parallel()
	counted, plain := recording(t, "vbr.mp3"), recording(t, "plain-mpeg25.mp3")[20:]
	exact, decoded := 33333*time.Second/44100, 1440*time.Millisecond
	vbri := bytes.Clone(plain[:144])
	clear(vbri[36:])
	copy(vbri[36:], "VBRI")
	binary.BigEndian.PutUint32(vbri[36+14:], 20)
	rubbish := bytes.Repeat([]byte("rubbish "), 100)
	check(t, []ruling{
		{"behind a large tag", join(id3(1<<20), counted), exact},
		{"behind two tags and padding", join(id3(300), id3(9), make([]byte, 77), counted), exact},
		{"before id3v1", join(counted, []byte("TAG"), make([]byte, 125)), exact},
		{"before apev2", join(counted, []byte("APETAGEX"), make([]byte, 200)), exact},
		{"a break, and the frames are counted in front", join(counted[:len(counted)-300], rubbish, counted[len(counted)-300:]), exact},
		{"a break, and they are not", join(plain[:144*10], rubbish, plain[144*10:]), 0},
		{"a break, and more are told than can be", fixBE(join(counted[:2000], rubbish), bytes.Index(counted, []byte("Xing"))+8, 1e6), 0},
		{"another stream behind", join(plain, counted), 0},
		{"a tag of vbri", join(vbri, plain), decoded},
		{"a tag of vbri, and a break", join(vbri, plain[:144*19], rubbish, plain[144*19:]), decoded},
		{"the last frame cut", plain[:len(plain)-1], decoded},
		{"the last frame cut within its header", plain[:len(plain)-141], decoded - 72*time.Millisecond},
		{"a tag alone", id3(100), 0},
		{"text", bytes.Repeat(rubbish, 100), 0},
	})
}

func TestADTS(t *testing.T) {
	t.Parallel()
	whole := recording(t, "stereo.aac")
	exact := 23 * 1024 * time.Second / 44100
	check(t, []ruling{
		{"behind a tag", join(id3(63), whole), exact},
		{"before id3v1", join(whole, []byte("TAG"), make([]byte, 125)), exact},
		{"the last frame cut", whole[:len(whole)-1], 22 * 1024 * time.Second / 44100},
		{"a break", join(whole, []byte("rubbish")), 0},
	})
}

func TestAMR(t *testing.T) {
	t.Parallel()
	check(t, []ruling{
		{"frames of several sizes", []byte("#!AMR\n\x04" + "123456789012" + "\x14" + "12345678901234567"), 40 * time.Millisecond},
		{"no data and comfort noise, which are not decoded", []byte("#!AMR\n\x04" + "123456789012" + "\x44" + "12345" + "\x7c"), 20 * time.Millisecond},
		{"wide, no data, which is", []byte("#!AMR-WB\n\x7c\x7c\x7c\x7c\x7c\x7c"), 120 * time.Millisecond},
		{"wide, comfort noise", []byte("#!AMR-WB\n\x7c\x4c12345\x7c"), 40 * time.Millisecond},
		{"wide, damaged", []byte("#!AMR-WB\n\x7c\x4812345\x70\x7c"), 80 * time.Millisecond},
		{"wide, lost frames", []byte("#!AMR-WB\n\x74\x74\x7c\x74\x74\x74"), 20 * time.Millisecond},
		{"before id3v1, whose bytes play too", []byte("#!AMR\nTAG" + string(make([]byte, 125))), 9 * 20 * time.Millisecond},
		{"wide, before id3v1", []byte("#!AMR-WB\n\x7c\x7cTAG" + string(bytes.Repeat([]byte("a"), 125))), 69 * 20 * time.Millisecond},
		{"two channels", []byte("#!AMR-WB_MC1.0\n\x00\x00\x00\x02\x7c\x7c\x7c\x7c"), 40 * time.Millisecond},
		{"two channels, a frame that is not decoded", []byte("#!AMR-WB_MC1.0\n\x00\x00\x00\x02\x7c\x74\x7c\x7c"), 0},
		{"no channels", []byte("#!AMR-WB_MC1.0\n\x00\x00\x00\x00\x7c\x7c\x7c\x7c"), 0},
		{"the last frame cut", []byte("#!AMR-WB\n\x7c\x7c\x7c\x7c\x7c\x7c\x7c\x7c\x04"), 160 * time.Millisecond},
	})
}

func TestOgg(t *testing.T) {
	t.Parallel()
	opus, pages, vorbis := recording(t, "opus.ogg"), recording(t, "opus-pages.ogg"), recording(t, "vorbis.ogg")
	opusTime, vorbisTime := 36007*time.Second/48000, 33333*time.Second/44100
	theora := []byte("OggS\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x07\x80theora")
	check(t, []ruling{
		{"links play one after the other", join(opus, renamed(opus), renamed(renamed(opus))), 3 * opusTime},
		{"links of one name, whose beginnings are not left out", join(opus, opus, opus), 3*opusTime + 2*312*time.Second/48000},
		{"a link of another codec ends it", join(opus, vorbis, opus), opusTime},
		{"vorbis goes on, and plays half a window more", join(vorbis, vorbis), 2*vorbisTime + 128*time.Second/44100},
		{"a link that is unlike the one before", join(vorbis, fix(vorbis, 28+12, 22050)), 0},
		{"other streams do not count", join(theora, opus), opusTime},
		{"opus that begins later than at 0", shiftGranules(pages, 48000*3600), opusTime},
		{"opus that begins later and ends on the same page", shiftGranules(opus, 48000*3600), 0},
		{"the last page cut", pages[:len(pages)-1], 600*time.Millisecond - 312*time.Second/48000},
		{"vorbis that begins later than at 0", shiftGranules(vorbis, 44100*3600), 0},
		{"before id3v1", join(opus, []byte("TAG"), make([]byte, 125)), opusTime},
		{"a break", join(opus, bytes.Repeat([]byte("rubbish "), 8)), 0},
		{"headers alone", opus[:47], 0},
		{"granules below 0", shiftGranules(opus, math.MinInt64), 0},
		{"pictures alone", theora, 0},
	})
}

func TestMP4(t *testing.T) {
	t.Parallel()
	ftyp, second := box("ftyp", "M4A \x00\x00\x00\x00isom"), track("alac", 8000, 8, 1000, 0, 0)
	mdat := box("mdat", string(make([]byte, 5<<20)))
	large := join([]byte("\x00\x00\x00\x01mdat"), binary.BigEndian.AppendUint64(nil, 1016), make([]byte, 1000))
	pictures := bytes.Replace(track("avc1", 8000, 8, 1000, 0, 0), []byte("soun"), []byte("vide"), 1)
	empty := track("mp4a", 8000, 0, 1024, 0, 0)
	trex := box("mvex", string(box("trex", string(words(0, 1, 1, 1024, 4, 0)))))
	moof := box("moof", string(box("traf", string(join(box("tfhd", string(words(0, 1))), box("trun", string(words(0, 5))))))))
	told := box("moof", string(box("traf", string(join(box("tfhd", string(words(0, 1))),
		box("trun", string(words(0x301, 2, 100, 1024, 6, 1024, 6))))))))
	other := bytes.Replace(moof, words(0, 1), words(0, 9), 1)
	check(t, []ruling{
		{"in front", join(ftyp, moov(second)), time.Second},
		{"behind the sound", join(ftyp, mdat, moov(second)), time.Second},
		{"behind a box with a large size", join(ftyp, large, moov(second)), time.Second},
		{"behind a tag, which shifts its offsets", join(id3(100), ftyp, moov(second)), 0},
		{"fragments behind a tag", join(id3(100), ftyp, moov(empty, trex), moof, moof), 1280 * time.Millisecond},
		{"behind pictures", join(ftyp, moov(pictures, second)), time.Second},
		{"pictures alone", join(ftyp, moov(pictures)), 0},
		{"whole frames, whatever the table says", join(ftyp, moov(track("mp4a", 8000, 8, 1000, 0, 0))), 1024 * time.Millisecond},
		{"a beginning left out", join(ftyp, moov(track("mp4a", 8000, 8, 1024, 1024, 0))), 896 * time.Millisecond},
		{"an end left out, up to a frame", join(ftyp, moov(track("mp4a", 8000, 8, 1024, 1024, 500))), 512 * time.Millisecond},
		{"fragments", join(ftyp, moov(empty, trex), moof, moof), 1280 * time.Millisecond},
		{"fragments that tell each packet", join(ftyp, moov(empty, trex), told, told, mdat), 512 * time.Millisecond},
		{"fragments, the last packet cut", join(ftyp, moov(empty, trex), told, told, make([]byte, 41)), 384 * time.Millisecond},
		{"fragments of another track", join(ftyp, moov(empty, trex), moof, other), 640 * time.Millisecond},
		{"no time scale", join(ftyp, moov(track("alac", 0, 8, 1000, 0, 0))), 0},
		{"plays for days", join(ftyp, moov(track("alac", 1, 8, math.MaxUint32, 0, 0))), 0},
		{"more packets than numbers hold", join(ftyp, moov(track("mp4a", 8000, math.MaxUint32, math.MaxUint32, 0, 0))), 0},
		{"a box smaller than its header", join(ftyp, []byte("\x00\x00\x00\x04free"), moov(second)), 0},
		{"a box larger than numbers", join(ftyp, []byte("\x00\x00\x00\x01free"), bytes.Repeat([]byte{0xFF}, 8), moov(second)), 0},
		{"a box up to the end", join(ftyp, []byte("\x00\x00\x00\x00mdat"), moov(second)), 0},
		{"a table cut short", join(ftyp, moov(second))[:200], 0},
	})
}

func TestOpusInFragmentsOfMP4(t *testing.T) {
	t.Parallel()
	begin := join(box("ftyp", "mp42\x00\x00\x00\x00isom"), moov(track("Opus", 48000, 0, 1, 0, 0)))
	const one, several = "\xf8six by", "\xfb\x82sixty" // Opus packets with one frame of 20 ms, and with two
	fragment := func(offset uint32, packets ...string) []byte {
		table, sound := words(0x301, uint32(len(packets)), offset), []byte(nil)
		for i, packet := range packets { // the durations in the table are arbitrary
			table, sound = append(table, words(uint32(i)*1000, uint32(len(packet)))...), append(sound, packet...)
		}
		moof := box("moof", string(box("traf", string(join(box("tfhd", string(words(0x20000, 1))), box("trun", string(table)))))))
		if offset == 0 {
			binary.BigEndian.PutUint32(moof[8+8+16+16:], uint32(len(moof)+8))
		}
		return join(moof, box("mdat", string(sound)))
	}
	whole := join(begin, fragment(0, one, several, one), fragment(0, several, one))
	check(t, []ruling{
		{"packets tell how long they are", whole, 140 * time.Millisecond},
		{"the last one cut", whole[:len(whole)-1], 140 * time.Millisecond},
		{"the last one missing", whole[:len(whole)-len(one)], 120 * time.Millisecond},
		{"the last one of several frames, cut", whole[:len(whole)-len(one)-1], 0},
		{"behind a tag", join(id3(100), whole), 140 * time.Millisecond},
		{"a packet that is too long", join(begin, fragment(0, one, "\xfb\x87")), 0},
		{"a packet that stands before it is told", join(begin, fragment(4, one)), 0},
		{"more packets than are looked at", join(begin, fragment(0, strings.Split(strings.Repeat(one+"|", mostFragment)+one, "|")...)), 0},
	})
}

// moov returns a movie box with a time scale of 1000 units per second.
func moov(boxes ...[]byte) []byte {
	return box("moov", string(join(box("mvhd", string(words(0, 0, 0, 1000, 0))), join(boxes...))))
}

// track returns a track of count packets of step ticks each. If start is not 0, an edit list
// selects length milliseconds from tick start on.
func track(codec string, scale, count, step, start, length uint32) []byte {
	entry := box(codec, string(join(make([]byte, 16), words(1<<16|16, 0, 8000<<16))))
	edits := []byte(nil)
	if start != 0 {
		edits = box("edts", string(box("elst", string(words(0, 1, length, start, 1<<16)))))
	}
	table := join(box("stsd", string(join(words(0, 1), entry))), box("stts", string(words(0, 1, count, step))),
		box("stsz", string(words(0, 4, count))))
	media := join(box("mdhd", string(words(0, 0, 0, scale, 0))), box("hdlr", "\x00\x00\x00\x00\x00\x00\x00\x00soun"),
		box("minf", string(box("stbl", string(table)))))
	return box("trak", string(join(box("tkhd", string(words(0, 0, 0, 1, 0, 0))), edits, box("mdia", string(media)))))
}

func words(numbers ...uint32) (b []byte) {
	for _, n := range numbers {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return b
}

func TestWebM(t *testing.T) {
	t.Parallel()
	live, told := recording(t, "live.webm"), recording(t, "vorbis.webm")
	duration := bytes.Index(told, []byte("\x44\x89\x88"))
	days, nan := bytes.Clone(told), bytes.Clone(told)
	binary.BigEndian.PutUint64(days[duration+3:], math.Float64bits(1e12))
	binary.BigEndian.PutUint64(nan[duration+3:], math.Float64bits(math.NaN()))
	check(t, []ruling{
		{"the header says days", days, 33472 * time.Second / 44100},
		{"the header says a duration that is no number", nan, 33472 * time.Second / 44100},
		{"no duration, and packets that do not tell theirs", bytes.Replace(live, []byte("A_OPUS"), []byte("A_FLAC"), 1), 0},
		{"before id3v1, an element that ends past the file", join(live, []byte("TAG"), make([]byte, 125)), 36007 * time.Second / 48000},
		{"no duration, and no sound", bytes.Replace(live, []byte("\x83\x81\x02"), []byte("\x83\x81\x01"), 1), 0},
	})
}

func TestOpusPacketsTellTheirLength(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		packet []byte
		want   int64 // expected length in samples
	}{
		{"silk, 60 ms", []byte{11 << 3}, 2880},
		{"hybrid, 20 ms, twice", []byte{15<<3 | 1}, 1920},
		{"celt, 2.5 ms, twice", []byte{16<<3 | 2}, 240},
		{"celt, 20 ms, six times", []byte{31<<3 | 3, 0x80 | 6}, 5760},
		{"more than 120 ms", []byte{31<<3 | 3, 7}, 0},
		{"no frames", []byte{31<<3 | 3, 0}, 0},
		{"a count that is missing", []byte{31<<3 | 3}, 0},
		{"nothing", nil, 0},
	} {
		if got := opusSamples(c.packet); got != c.want {
			t.Errorf("%s: %d samples, want %d", c.name, got, c.want)
		}
	}
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// le32 returns the header of a RIFF chunk.
func le32(id string, size uint32) []byte { return binary.LittleEndian.AppendUint32([]byte(id), size) }

// fix returns a copy of b with a number at off, little-endian. fixBE writes it big-endian.
func fix(b []byte, off int, number uint32) []byte {
	b = bytes.Clone(b)
	binary.LittleEndian.PutUint32(b[off:], number)
	return b
}

func fixBE(b []byte, off int, number uint32) []byte {
	b = bytes.Clone(b)
	binary.BigEndian.PutUint32(b[off:], number)
	return b
}

// wav returns a 16-bit mono file with length bytes of sound. The parameter told is the size in its
// data chunk; the size in its RIFF header is 0.
func wav(format uint16, rate, told uint32, length int) []byte {
	le := binary.LittleEndian
	b := append(le32("RIFF", 0), "WAVE"...)
	b = append(b, le32("fmt ", 16)...)
	b = le.AppendUint16(le.AppendUint16(b, format), 1)
	b = le.AppendUint32(le.AppendUint32(b, rate), 2*rate)
	b = le.AppendUint16(le.AppendUint16(b, 2), 16)
	return append(append(b, le32("data", told)...), make([]byte, length)...)
}

// box returns a box of an MP4 file.
func box(kind, body string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(8+len(body))), kind+body...)
}

// id3 returns an ID3v2 tag with size bytes after its header.
func id3(size int) []byte {
	header := []byte{'I', 'D', '3', 3, 0, 0, byte(size >> 21 & 127), byte(size >> 14 & 127), byte(size >> 7 & 127), byte(size & 127)}
	return append(header, bytes.Repeat([]byte{0x55}, size)...)
}

// renamed returns an Ogg file whose stream has another serial number.
func renamed(file []byte) []byte {
	file = bytes.Clone(file)
	for page := file; len(page) > 0; {
		page[14]++
		size := 27 + int(page[26])
		for _, n := range page[27:size] {
			size += int(n)
		}
		page = page[size:]
	}
	return file
}

// shiftGranules returns an Ogg file whose granule positions are higher by shift.
func shiftGranules(file []byte, shift int64) []byte {
	file = bytes.Clone(file)
	for page := file; len(page) > 0; {
		if granule := binary.LittleEndian.Uint64(page[6:]); granule != 0 {
			binary.LittleEndian.PutUint64(page[6:], granule+uint64(shift))
		}
		size := 27 + int(page[26])
		for _, n := range page[27:size] {
			size += int(n)
		}
		page = page[size:]
	}
	return file
}

func TestAKnownDurationIsNeverZero(t *testing.T) {
	t.Parallel()
	wav := recording(t, "pcm16.wav")
	at := bytes.Index(wav, []byte("data"))
	one := fix(append(bytes.Clone(wav[:at+8]), 0, 0), at+4, 2) // one sample
	expect(t, one, 62500*time.Nanosecond, 0)
	expect(t, fix(one, 24, 0xffffffff), 0, 0) // at a sampling rate of 4 GHz, one sample lasts less than a nanosecond: the duration is unknown
	expect(t, fix(bytes.Clone(wav[:at+8]), at+4, 0), 0, 0)
}

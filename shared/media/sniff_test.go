package media

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"
)

// heads are the beginnings of files of real encoders, in testdata/heads.
var heads = []struct{ name, mediaType string }{
	{"wav.wav", "audio/wav"},
	{"wav-extensible.wav", "audio/wav"},
	{"wav-piped.wav", "audio/wav"},
	{"wav-rf64.wav", "audio/wav"},
	{"aiff.aiff", "audio/aiff"},
	{"aiff-c.aifc", "audio/aiff"},
	{"x-caf.caf", "audio/x-caf"},
	{"flac.flac", "audio/flac"},
	{"mpeg-lame.mp3", "audio/mpeg"},
	{"mpeg-2.5.mp3", "audio/mpeg"},
	{"mpeg-vbr.mp3", "audio/mpeg"},
	{"mpeg-id3.mp3", "audio/mpeg"},
	{"mpeg-layer-2.mp2", "audio/mpeg"},
	{"aac.aac", "audio/aac"},
	{"ogg-vorbis.ogg", "audio/ogg"},
	{"ogg-opus.ogg", "audio/ogg"},
	{"ogg-speex.ogg", "audio/ogg"},
	{"ogg-flac.ogg", "audio/ogg"},
	{"mp4.m4a", "audio/mp4"},
	{"mp4-fragmented.mp4", "audio/mp4"},
	{"mp4-3gp.3gp", "audio/mp4"},
	{"webm.webm", "audio/webm"},
	{"webm-live.webm", "audio/webm"},
	{"amr.amr", "audio/amr"},
	{"amr-wb.amr", "audio/amr-wb"},
}

func TestRealRecordingsAreKnown(t *testing.T) {
	t.Parallel()
	for _, r := range heads {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			sniffed(t, headOf(t, r.name), r.mediaType)
		})
	}
}

func TestOtherFilesAreRefused(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob("testdata/other/*")
	if err != nil || len(names) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			sniffed(t, read(t, name), "")
		})
	}
}

func TestWhatSharesAShapeWithAudioIsDecidedByItsContent(t *testing.T) {
	t.Parallel()
	mp3, aac := headOf(t, "mpeg-lame.mp3"), headOf(t, "aac.aac")
	theora := read(t, "testdata/other/theora.ogg")
	pictures, sound := theora[:70], theora[70:128] // the first page of the video stream, and of the audio stream
	cases := []struct {
		name, mediaType string
		head            []byte
	}{
		{"nothing", "", nil},
		{"one byte", "", []byte{0xFF}},
		{"html", "", []byte("<!doctype html><title>audio</title>")},
		{"json", "", []byte(`{"file":"a.wav"}`)},
		{"pdf", "", []byte("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")},
		{"executable", "", []byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")},
		{"zero bytes", "", make([]byte, HeadSize)},
		{"all ones", "", bytes.Repeat([]byte{0xFF}, HeadSize)},
		{"riff without a form", "", []byte("RIFF\x24\x00\x00\x00")},
		{"riff midi", "", []byte("RIFF\x24\x00\x00\x00RMIDdata")},
		{"bw64", "audio/wav", []byte("BW64\xff\xff\xff\xffWAVEds64")},
		{"iff picture", "", []byte("FORM\x00\x00\x00\x24ILBMBMHD")},
		{"flac without stream info", "", []byte("fLaC\x04\x00\x00\x22\x00\x00")},
		{"flac whose only block is stream info", "audio/flac", []byte("fLaC\x80\x00\x00\x22\x10\x00")},
		{"amr, many channels", "audio/amr", []byte("#!AMR_MC1.0\n\x00\x00\x00\x02")},
		{"amr-wb, many channels", "audio/amr-wb", []byte("#!AMR-WB_MC1.0\n\x00\x00\x00\x02")},
		{"shell script", "", []byte("#!AMRscript\n")},
		{"caf without description", "", []byte("caff\x00\x01\x00\x00free")},
		{"mpeg program stream", "", []byte("\x00\x00\x01\xba\x44\x00\x04\x00\x04\x01")},

		{"heic", "", ftyp("heic", "mif1", "heic")},
		{"heic sequence with a film's brand", "", ftyp("hevc", "msf1", "iso8")},
		{"avif", "", ftyp("avif", "mif1", "miaf")},
		{"mp4 by a compatible brand", "audio/mp4", ftyp("abcd", "xyz0", "mp42")},
		{"mp4 of no known brand", "", ftyp("abcd", "xyz0")},
		{"ftyp that ends before its brand", "", []byte("\x00\x00\x00\x08ftypM4A ")},
		{"jpeg 2000", "", []byte("\x00\x00\x00\x0cjP  \x0d\x0a\x87\x0a\x00\x00\x00\x14ftypjp2 ")},

		{"ogg sound, then pictures", "", join(sound, pictures)},
		{"ogg sound alone", "audio/ogg", sound},
		{"ogg directory, then sound", "audio/ogg", join(oggPage("fishead\x00\x03\x00"), sound)},
		{"ogg directory alone", "", oggPage("fishead\x00\x03\x00")},
		{"ogg of an unknown codec", "", oggPage("\x80kate\x00\x00\x00")},
		{"ogg page that begins nothing", "", join([]byte("OggS\x00\x00"), sound[6:])},

		{"ebml without a doctype", "", []byte("\x1a\x45\xdf\xa3\x84\x42\x86\x81\x01\x42\x82\x84webm")},
		{"ebml whose doctype begins as webm's", "", []byte("\x1a\x45\xdf\xa3\x88\x42\x82\x85webmx")},
		{"webm with a padded doctype", "audio/webm", []byte("\x1a\x45\xdf\xa3\x89\x42\x82\x86webm\x00\x00")},

		{"utf-16 text, little endian", "", utf16Text(binary.LittleEndian)},
		{"utf-16 text, big endian", "", utf16Text(binary.BigEndian)},
		{"an mpeg header, then text", "", join(mp3[:4], bytes.Repeat([]byte("text"), 1000))},
		{"an mpeg header alone", "", mp3[:4]},
		{"a second mpeg frame of another rate", "", join(mp3[:144], []byte("\xff\xf3\x44\xc4"), mp3[148:400])},
		{"one whole mpeg frame", "audio/mpeg", mp3[:144]},
		{"an adts header, then text", "", join(aac[:7], bytes.Repeat([]byte("text"), 1000))},
		{"an adts frame of no data", "", []byte("\xff\xf1\x50\x80\x00\xff\xfc\xff\xf1\x50\x80\x00\xff\xfc")},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			sniffed(t, c.head, c.mediaType)
		})
	}
}

func TestWhatFollowsAnID3TagDecides(t *testing.T) {
	t.Parallel()
	mp3, aac, flac := headOf(t, "mpeg-lame.mp3"), headOf(t, "aac.aac"), headOf(t, "flac.flac")
	text := bytes.Repeat([]byte("text"), HeadSize/4)
	cases := []struct {
		name, mediaType string
		body            []byte
	}{
		{"mpeg", "audio/mpeg", join(id3(100), mp3)},
		{"mpeg after two tags", "audio/mpeg", join(id3(100), id3(7), mp3)},
		{"mpeg after padding", "audio/mpeg", join(id3(100), make([]byte, 50), mp3)},
		{"adts", "audio/aac", join(id3(63), aac)},
		{"flac", "audio/flac", join(id3(1000), flac)},
		{"flac far away", "audio/flac", join(id3(HeadSize-30), flac)},
		{"text", "", join(id3(100), text)},
		{"nothing", "", id3(100)},
		{"nothing, and the tag is cut", "", id3(100)[:60]},
		{"nothing to be seen in a large tag", "audio/mpeg", join(id3(HeadSize*3), mp3)},
		{"frames half seen", "audio/mpeg", join(id3(HeadSize-60), mp3)},
		{"a footer", "audio/mpeg", join([]byte("ID3\x04\x00\x10\x00\x00\x00\x03abc3DI\x04\x00\x10\x00\x00\x00\x03"), mp3)},
		{"a size that is none", "audio/mpeg", join([]byte("ID3\x04\x00\x00\x80\x00\x00\x00"), mp3)},
		{"a version that is none", "audio/mpeg", join([]byte("ID3\x07\x00\x00\x00\x00\x00\x00"), mp3)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			sniffed(t, c.body[:min(len(c.body), HeadSize)], c.mediaType)
		})
	}
}

func TestShorterHeadsTellTheSameOrNothing(t *testing.T) {
	t.Parallel()
	for _, r := range heads {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			head := headOf(t, r.name)
			for n := range head {
				if got, ok := Sniff(head[:n:n]); ok != (got != "") || ok && got != r.mediaType {
					t.Fatalf("first %d bytes: %q, %v", n, got, ok)
				}
			}
		})
	}
}

func TestRandomBytesAreNoAudio(t *testing.T) {
	t.Parallel()
	source := rand.NewChaCha8([32]byte{1})
	head := make([]byte, HeadSize)
	for range 2000 {
		_, _ = source.Read(head)
		head[0] = 0xFF // the sync bits with which a frame begins
		head[1] |= 0xE0
		sniffed(t, head, "")
	}
}

func FuzzSniff(f *testing.F) {
	for _, folder := range []string{"heads", "other"} {
		names, err := filepath.Glob(filepath.Join("testdata", folder, "*"))
		if err != nil || len(names) == 0 {
			f.Fatalf("no seeds: %v", err)
		}
		for _, name := range names {
			f.Add(read(f, name))
		}
	}
	f.Fuzz(func(t *testing.T, head []byte) {
		before := bytes.Clone(head)
		got, ok := Sniff(head)
		if ok != strings.HasPrefix(got, "audio/") || !ok && got != "" {
			t.Errorf("told %q, %v", got, ok)
		}
		if !bytes.Equal(head, before) {
			t.Error("head was changed")
		}
	})
}

func sniffed(t *testing.T, head []byte, mediaType string) {
	t.Helper()
	if got, ok := Sniff(head); got != mediaType || ok != (mediaType != "") {
		t.Errorf("told %q, %v; want %q", got, ok, mediaType)
	}
}

func headOf(t testing.TB, name string) []byte {
	t.Helper()
	return read(t, filepath.Join("testdata", "heads", name))
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ftyp returns a file type box; the first brand is the major one.
func ftyp(brands ...string) []byte {
	box := binary.BigEndian.AppendUint32(nil, uint32(12+4*len(brands)))
	box = append(box, "ftyp"+brands[0]+"\x00\x00\x00\x00"+strings.Join(brands[1:], "")...)
	return append(box, "\x00\x00\x00\x08free"...)
}

// oggPage returns a page that begins a stream with one packet.
func oggPage(packet string) []byte {
	return append(append([]byte("OggS\x00\x02"), make([]byte, 20)...), "\x01"+string(rune(len(packet)))+packet...)
}

func utf16Text(order binary.AppendByteOrder) []byte {
	text := []byte{}
	for _, unit := range utf16.Encode([]rune("\ufeff" + strings.Repeat("hello, 소리. ", 300))) {
		text = order.AppendUint16(text, unit)
	}
	return text
}

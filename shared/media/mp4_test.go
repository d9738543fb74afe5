package media

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"
)

// Android writes metadata before the tracks, and an iPhone into the track of the pictures. Neither has
// a version and flags in it.
func TestMP4OfPhones(t *testing.T) {
	t.Parallel()
	ftyp, sound := box("ftyp", "qt  \x00\x00\x00\x00qt  "), track("mp4a", 8000, 8, 1000, 0, 0)
	handler := box("hdlr", "\x00\x00\x00\x00\x00\x00\x00\x00mdta\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	keys := box("keys", string(join(words(0, 1), box("mdta", "com.android.version"))))
	list := box("ilst", string(box("\x00\x00\x00\x01", string(box("data", "\x00\x00\x00\x01\x00\x00\x00\x0014")))))
	plain := box("meta", string(join(handler, keys, list)))
	versioned := box("meta", string(join(words(0), handler, list)))
	priming := box("udta", string(box("meta", string(join(words(0), handler, box("ilst", string(box("----", string(join(
		box("mean", "\x00\x00\x00\x00com.apple.iTunes"), box("name", "\x00\x00\x00\x00iTunSMPB"),
		box("data", "\x00\x00\x00\x01\x00\x00\x00\x00 00000000 00000400 00000000 0000000000001000"),
	))))))))))
	pictures := bytes.Replace(track("hvc1", 8000, 8, 1000, 0, 0), []byte("soun"), []byte("vide"), 1)
	inTrack := func(track []byte, more ...[]byte) []byte { return box("trak", string(join(track[8:], join(more...)))) }
	ahead := func(track []byte, more []byte) []byte { return box("trak", string(join(more, track[8:]))) }
	user := box("udta", string(join(box("name", "lens"), words(0))))
	check(t, []ruling{
		{"metadata before the track", join(ftyp, moov(plain, sound)), 1024 * time.Millisecond},
		{"metadata with a version", join(ftyp, moov(versioned, sound)), 1024 * time.Millisecond},
		{"metadata of the pictures", join(ftyp, moov(inTrack(pictures, plain), sound)), 1024 * time.Millisecond},
		{"metadata of the sound", join(ftyp, moov(ahead(sound, plain))), 1024 * time.Millisecond},
		{"metadata of nothing", join(ftyp, moov(box("meta", ""), box("meta", "\x00\x00\x00\x00"), sound)), 1024 * time.Millisecond},
		{"user data of the pictures, with an end of its own", join(ftyp, moov(inTrack(pictures, user), sound)), 1024 * time.Millisecond},
		{"user data before the track, with an end of its own", join(ftyp, moov(user, sound)), 1024 * time.Millisecond},
		{"user data at the end of the file", join(ftyp, moov(sound, user)), 1024 * time.Millisecond},
		{"samples that iTunes skips", join(ftyp, moov(sound, priming)), 896 * time.Millisecond},
	})
}

func TestAMRInMP4HasFramesOf20Milliseconds(t *testing.T) {
	t.Parallel()
	ftyp := box("ftyp", "3gp4\x00\x00\x00\x00isom")
	file := func(frames string) []byte {
		first := track("samr", 8000, 50, 171, 0, 0) // the first packet came late
		entry := first[bytes.Index(first, []byte("samr"))-4:][:36]
		damr := box("damr", "vend\x00\x81\xff\x00"+frames)
		return join(ftyp, moov(replace(first, entry, join(words(uint32(len(entry)+len(damr))), entry[4:], damr), "stsd", "stbl", "minf", "mdia", "trak")))
	}
	check(t, []ruling{
		{"one frame in a packet", file("\x01"), time.Second},
		{"ten frames in a packet", file("\x0a"), 10 * time.Second},
		{"an unknown number of frames", file("\x00"), 50 * 171 * time.Second / 8000},
	})
}

// replace replaces a part of an MP4 file by a longer one, and enlarges the boxes around it.
func replace(file, old, part []byte, around ...string) []byte {
	file = bytes.Clone(file)
	for _, kind := range around {
		at := bytes.Index(file, []byte(kind)) - 4
		binary.BigEndian.PutUint32(file[at:], binary.BigEndian.Uint32(file[at:])+uint32(len(part)-len(old)))
	}
	return bytes.Replace(file, old, part, 1)
}

package media

import (
	"bytes"
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

package media

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

// recordings are files of real encoders, in testdata. Each was made from a known number of samples.
// If an encoder adds silence that the file does not declare, samples is the number that a decoder
// returns.
var recordings = []struct {
	name    string
	samples int // samples per channel; 0 if the file does not state the number
	rate    int // samples per second
	within  time.Duration
}{
	{"pcm16.wav", 5000, 16000, 0},
	{"pcm8-stereo.wav", 6000, 8000, 0},
	{"pcm24-extensible.wav", 4801, 48000, 0},
	{"float.wav", 4410, 44100, 0},
	{"mulaw.wav", 10007, 8000, 0},
	{"adpcm.wav", 22220, 22050, 0},
	{"piped.wav", 5000, 16000, 0},
	{"piped-half.wav", 5000, 16000, 0},
	{"large.rf64", 5000, 16000, 0},

	{"pcm16.aiff", 4411, 44100, 0},
	{"piped.aiff", 5000, 16000, 0},
	{"alaw.aifc", 10007, 8000, 0},
	{"sowt.aifc", 5000, 16000, 0},

	{"pcm.caf", 5000, 16000, 0},
	{"piped.caf", 5000, 16000, 0},
	{"ima4.caf", 345 * 64, 22050, 0},
	{"alac.caf", 4410, 44100, 0}, // the packet table counts the last packet as full, although it has fewer samples

	{"mono.flac", 5000, 16000, 0},
	{"stereo.flac", 4411, 44100, 0},
	{"piped.flac", 5000, 16000, 0},

	{"tagged.mp3", 22051, 44100, 0},
	{"vbr.mp3", 33333, 44100, 0},
	{"cbr.mp3", 44 * 576, 16000, 0},
	{"plain-mpeg25.mp3", 20 * 576, 8000, 0},
	{"vbr-without-count.mp3", 33 * 1152, 48000, 0},
	{"layer2.mp2", 20 * 1152, 22050, 0},
	{"stereo.aac", 23 * 1024, 44100, 0},

	{"vorbis.ogg", 33333, 44100, 0},
	{"opus.ogg", 36007, 48000, 0},
	{"opus-pages.ogg", 36007, 48000, 0},
	{"flac.ogg", 5000, 16000, 0},
	{"speex.ogg", 76 * 320, 16000, 0},

	{"front.m4a", 33 * 1024, 44100, 0},
	{"end.m4a", 33 * 1024, 44100, 0},
	{"alac.m4a", 5000, 16000, 0},
	{"amr.3gp", 101*160 - 50, 8000, 0},
	{"fragmented.mp4", 25 * 1024, 16000, 0},

	{"narrow.amr", 16000, 8000, 0},
	{"wide.amr", 76 * 320, 16000, 0},

	{"opus.webm", 36007, 48000, 0},
	{"vorbis.webm", 33472, 44100, 0},
	{"live.webm", 36007, 48000, 0},
}

func TestPlayingTimeOfRealRecordings(t *testing.T) {
	t.Parallel()
	for _, r := range recordings {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			want := time.Duration(r.samples) * time.Second / time.Duration(r.rate)
			expect(t, recording(t, r.name), want, r.within)
		})
	}
}

func TestHowTheBytesAreCutMakesNoDifference(t *testing.T) {
	t.Parallel()
	for _, r := range recordings {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			b := recording(t, r.name)
			want, told := measure(b, len(b))
			for size := 1; size < len(b); size += 1 + size/100 {
				if got, ok := measure(b, size); got != want || ok != told {
					t.Fatalf("%d bytes at a time: %v, %v; all at once: %v, %v", size, got, ok, want, told)
				}
			}
		})
	}
}

func TestACutFileTellsNoMoreThanTheWholeOne(t *testing.T) {
	t.Parallel()
	for _, r := range recordings {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			b := recording(t, r.name)
			whole, _ := measure(b, len(b))
			m := NewMeter(-1)
			for i := range b {
				const padding = 60 * time.Millisecond // until the end is read, the duration includes the padding at the end
				if got, ok := duration(m); ok && r.samples > 0 && (got <= 0 || got > whole+padding) {
					t.Fatalf("first %d bytes: %v, all of them %v", i, got, whole)
				}
				_, _ = m.Write(b[i : i+1])
			}
		})
	}
}

func TestNothingIsToldBeforeTheLastByte(t *testing.T) {
	t.Parallel()
	b := recording(t, "pcm16.wav")
	for _, size := range []int64{int64(len(b)) + 1, int64(len(b)) - 1, 0} {
		m := NewMeter(size)
		_, _ = m.Write(b)
		if got, ok := duration(m); ok {
			t.Errorf("%d bytes were expected: told %v", size, got)
		}
	}
	m := NewMeter(-1)
	_, _ = m.Write(b)
	if got, ok := duration(m); !ok || got != 312500*time.Microsecond {
		t.Errorf("any size was expected: told %v, %v", got, ok)
	}
}

func TestWriteTakesAllAndKeepsLittle(t *testing.T) {
	t.Parallel()
	for _, r := range recordings {
		m := NewMeter(-1)
		b := recording(t, r.name)
		for range 3 { // the second and the third copy are junk after the end of the file
			if n, err := m.Write(b); n != len(b) || err != nil {
				t.Errorf("%s: %d, %v", r.name, n, err)
			}
		}
		if got := cap(m.buf); got > 2*mostBytes {
			t.Errorf("%s: holds %d bytes", r.name, got)
		}
	}
}

func FuzzMeter(f *testing.F) {
	names, err := filepath.Glob("testdata/*.*")
	if err != nil || len(names) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for i, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[:min(len(b), 4096)], uint16(i))
	}
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		whole := describe(b, len(b))
		if whole.DurationKnown && (whole.Duration <= 0 || whole.Duration > Longest) || !whole.DurationKnown && whole.Duration != 0 {
			t.Errorf("told %+v", whole)
		}
		if got := describe(b, int(cut)+1); !reflect.DeepEqual(got, whole) {
			t.Errorf("%d bytes at a time: %+v; all at once: %+v", int(cut)+1, got, whole)
		}
		if mediaType, ok := Sniff(b[:min(len(b), HeadSize)]); ok && whole.MediaType != "" && whole.MediaType != mediaType {
			t.Errorf("sniffed %s, measured %s", mediaType, whole.MediaType)
		}
	})
}

// sealFrames sets the checksums of the FLAC frames in b, so that the reader accepts frames with
// arbitrary content. A frame begins with 0xFFF8 and ends before the next 0xFFF8.
func sealFrames(b []byte) []byte {
	const least = 9 // minimum size of a frame in bytes, with both checksums
	b = bytes.Clone(b)
	mark, number := []byte{0xff, 0xf8}, byte(0)
	for at := bytes.Index(b, mark); at >= 0; {
		end := len(b)
		next := bytes.Index(b[at+2:], mark)
		if next >= 0 {
			end = at + 2 + next
		}
		if end-at >= least && number < 0x80 {
			b[at+2], b[at+3], b[at+4] = b[at+2]&0x07|0xc0, b[at+3]&0x70, number // 4096 samples, a number of one byte, and no optional fields
			number++
			b[at+5] = crc8(b[at : at+5])
			binary.BigEndian.PutUint16(b[end-2:], crc16(crc16Table(), 0, b[at:end-2]))
		}
		if next < 0 {
			break
		}
		at = end
	}
	return b
}

func FuzzMeterBehindChecksums(f *testing.F) {
	for _, name := range []string{"mono.flac", "stereo.flac", "flac.ogg"} {
		b := recording(f, name)
		f.Add(b[:min(len(b), 4096)], uint16(100))
	}
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		b = sealFrames(b)
		whole := describe(b, len(b))
		if whole.DurationKnown && (whole.Duration <= 0 || whole.Duration > Longest) {
			t.Errorf("told %+v", whole)
		}
		if got := describe(b, int(cut)+1); !reflect.DeepEqual(got, whole) {
			t.Errorf("%d bytes at a time: %+v; all at once: %+v", int(cut)+1, got, whole)
		}
	})
}

// describe writes b to a Meter in parts of size bytes, and returns the result.
func describe(b []byte, size int) Info {
	m := NewMeter(int64(len(b)))
	for len(b) > 0 {
		n, _ := m.Write(b[:min(max(size, 1), len(b))])
		b = b[n:]
	}
	return m.Info()
}

// measure writes b to a Meter in parts of size bytes, and returns the duration and whether it is
// known.
func measure(b []byte, size int) (time.Duration, bool) {
	info := describe(b, size)
	return info.Duration, info.DurationKnown
}

func duration(m *Meter) (time.Duration, bool) {
	info := m.Info()
	return info.Duration, info.DurationKnown
}

// expect checks the playing time of b. If want is 0, the playing time must not be known.
func expect(t *testing.T, b []byte, want, within time.Duration) {
	t.Helper()
	got, ok := measure(b, len(b))
	if within += time.Microsecond; ok != (want > 0) || got < want-within || got > want+within {
		t.Errorf("told %v, %v; want %v", got, ok, want)
	}
}

func recording(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func BenchmarkMeter(b *testing.B) {
	for _, name := range []string{"pcm16.wav", "vbr.mp3", "stereo.flac", "opus.webm"} {
		b.Run(name, func(b *testing.B) {
			const piece = 32 << 10
			file := recording(b, name)
			switch name {
			case "pcm16.wav": // append silence, and state a larger size in the header
				file = append(fix(file, 40, 1<<30), make([]byte, 4<<20)...)
			case "stereo.flac":
				file = append(file, bytes.Repeat(file[len(file)-4<<10:], 1<<10)...)
			default:
				file = append(file, bytes.Repeat(file, 1<<10)...)
			}
			b.SetBytes(int64(len(file)))
			for b.Loop() {
				m := NewMeter(int64(len(file)))
				for rest := file; len(rest) > 0; {
					n, _ := m.Write(rest[:min(piece, len(rest))])
					rest = rest[n:]
				}
			}
		})
	}
}

package decode_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"

	"sori.internal/infra/analyzer/internal/decode"
)

// decodeAll reads everything in blocks of odd size, so that block borders fall anywhere.
func decodeAll(data []byte) (decode.Info, []float32, error) {
	s, err := decode.Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return decode.Info{}, nil, err
	}
	var all []float32
	block := make([]float32, 1777)
	for {
		n, err := s.Read(block)
		if errors.Is(err, io.EOF) {
			return s.Info(), all, nil
		}
		if err != nil {
			return s.Info(), all, err
		}
		all = append(all, block[:n]...)
	}
}

// tone returns the amplitude of a sine in one channel, leaving out the edges, where lossy coders fade.
func tone(samples []float32, channel, channels, rate int, hz float64) float64 {
	var re, im float64
	frames := len(samples) / channels
	from, n := frames/4, 0
	length := int(math.Round(float64(frames/2)*hz/float64(rate))/hz*float64(rate) + 0.5) // whole periods
	for i := from; i < from+length && i < frames; i++ {
		sin, cos := math.Sincos(2 * math.Pi * hz * float64(i) / float64(rate))
		re += float64(samples[i*channels+channel]) * cos
		im += float64(samples[i*channels+channel]) * sin
		n++
	}
	return 2 * math.Hypot(re, im) / float64(n)
}

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Every fixture holds a 220 Hz sine at -6 dBFS. The durations are sox's; those of MP3 include the encoder's delay and padding.
func TestKnownFilesDecodeToTheirTone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, format, codec string
		rate, channels      int
		seconds, tolerance  float64
	}{
		{"u8.wav", "wav", "pcm_u8", 16000, 1, 0.5, 0},
		{"s16.wav", "wav", "pcm_s16le", 16000, 1, 0.5, 0},
		{"s24.wav", "wav", "pcm_s24le", 16000, 1, 0.5, 0},
		{"s32.wav", "wav", "pcm_s32le", 16000, 1, 0.5, 0},
		{"f32.wav", "wav", "pcm_f32le", 16000, 1, 0.5, 0},
		{"alaw.wav", "wav", "pcm_alaw", 8000, 1, 0.5, 0},
		{"mulaw.wav", "wav", "pcm_mulaw", 8000, 1, 0.5, 0},
		{"six.wav", "wav", "pcm_s16le", 8000, 6, 0.25, 0},
		{"stereo.flac", "flac", "flac", 16000, 2, 0.5, 0},
		{"s24.flac", "flac", "flac", 44100, 1, 0.5, 0},
		{"mono.ogg", "ogg", "vorbis", 16000, 1, 0.5, 0},
		{"stereo.ogg", "ogg", "vorbis", 44100, 2, 0.5, 0},
		{"mono_11025.mp3", "mp3", "mp3", 11025, 1, 0.573968, 0.06},
		{"mono_16000.mp3", "mp3", "mp3", 16000, 1, 0.54, 0.06},
		{"mono_22050.mp3", "mp3", "mp3", 22050, 1, 0.547982, 0.06},
		{"vbr_22050.mp3", "mp3", "mp3", 22050, 1, 0.548, 0.06},
		{"mono_44100.mp3", "mp3", "mp3", 44100, 1, 0.521995, 0.06},
		{"mono_48000.mp3", "mp3", "mp3", 48000, 1, 0.504, 0.06},
		{"stereo_22050.mp3", "mp3", "mp3", 22050, 2, 0.547982, 0.06},
		{"stereo_44100.mp3", "mp3", "mp3", 44100, 2, 0.521995, 0.06},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			info, samples, err := decodeAll(fixture(t, c.name))
			if err != nil {
				t.Fatal(err)
			}
			if info.Format != c.format || info.Codec != c.codec || info.SampleRate != c.rate || info.Channels != c.channels {
				t.Errorf("info = %+v", info)
			}
			seconds := float64(len(samples)) / float64(c.channels) / float64(c.rate)
			if math.Abs(seconds-c.seconds) > c.tolerance+1e-9 {
				t.Errorf("duration = %v s, want %v", seconds, c.seconds)
			}
			for ch := range c.channels {
				want := 0.501
				if c.format == "mp3" && c.name != "vbr_22050.mp3" {
					want *= 0.95 // headroom that the encoder takes at constant bitrates
				}
				if a := tone(samples, ch, c.channels, c.rate, 220); math.Abs(a-want) > 0.01 {
					t.Errorf("channel %d: amplitude %v at 220 Hz, want %v", ch, a, want)
				}
			}
		})
	}
}

func TestRolesFollowTheContainer(t *testing.T) {
	t.Parallel()
	info, _, err := decodeAll(fixture(t, "six.wav"))
	if err != nil {
		t.Fatal(err)
	}
	want := []decode.Role{0, 0, 0, decode.RoleLFE, decode.RoleSurround, decode.RoleSurround}
	for i, r := range info.Roles {
		if r != want[i] {
			t.Errorf("channel %d has role %d, want %d", i, r, want[i])
		}
	}
}

// rf64 rewrites a plain WAV as EBU Tech 3306 has it: sizes in a ds64 chunk, 0xffffffff where they were.
func rf64(wav []byte) []byte {
	at := bytes.Index(wav, []byte("data"))
	size := binary.LittleEndian.Uint32(wav[at+4:])
	out := []byte("RF64\xff\xff\xff\xffWAVEds64")
	out = binary.LittleEndian.AppendUint32(out, 28)
	out = binary.LittleEndian.AppendUint64(out, uint64(len(wav)+36-8))
	out = binary.LittleEndian.AppendUint64(out, uint64(size))
	out = binary.LittleEndian.AppendUint64(out, 0)
	out = binary.LittleEndian.AppendUint32(out, 0)
	out = append(out, wav[12:at+4]...)
	out = append(out, 0xff, 0xff, 0xff, 0xff)
	return append(out, wav[at+8:]...)
}

func TestRF64AndStreamedWAVAreReadToTheirEnd(t *testing.T) {
	t.Parallel()
	plain := fixture(t, "s16.wav")
	_, want, err := decodeAll(plain)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(plain, []byte("data")) + 4
	for name, size := range map[string]uint32{"unknown": 0xffffffff, "sox": 0x7ffff000 + 36, "zero": 0} {
		streamed := bytes.Clone(plain)
		binary.LittleEndian.PutUint32(streamed[at:], size)
		_, got, err := decodeAll(streamed)
		if err != nil || len(got) != len(want) {
			t.Errorf("%s: %d samples, %v; want %d", name, len(got), err, len(want))
		}
	}
	long := append(rf64(plain), "LIST\x04\x00\x00\x00abcd"...)
	info, got, err := decodeAll(long)
	if err != nil || len(got) != len(want) || info.Format != "rf64" {
		t.Errorf("rf64: %s, %d samples, %v; want %d", info.Format, len(got), err, len(want))
	}
}

// An MP3 without Xing frame that is cut between two frames is a shorter MP3; the cuts here fall into frames.
func TestCutFilesAreErrors(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob("testdata/*.*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			data := fixture(t, filepath.Base(name))
			for _, keep := range []int{0, 3, 11, 40, len(data)/4 + 7, len(data)/2 + 7, len(data) - 5} {
				_, _, err := decodeAll(data[:keep])
				if !errors.Is(err, decode.ErrMalformed) && !errors.Is(err, decode.ErrUnsupported) {
					t.Errorf("%d of %d bytes: %v, want an error of this package", keep, len(data), err)
				}
			}
		})
	}
}

func TestTagsAndJunkAroundMP3DoNotMatter(t *testing.T) {
	t.Parallel()
	plain := fixture(t, "mono_22050.mp3")
	_, want, err := decodeAll(plain)
	if err != nil {
		t.Fatal(err)
	}
	id3 := append([]byte("ID3\x04\x00\x00\x00\x00\x02\x00"), make([]byte, 256)...)
	tag := append([]byte("TAG"), make([]byte, 125)...)
	for name, data := range map[string][]byte{
		"id3v2 before": append(bytes.Clone(id3), plain...),
		"id3v1 after":  append(bytes.Clone(plain), tag...),
		"both":         append(append(bytes.Clone(id3), plain...), tag...),
	} {
		if _, got, err := decodeAll(data); err != nil || len(got) != len(want) {
			t.Errorf("%s: %d samples, %v; want %d", name, len(got), err, len(want))
		}
	}
}

func TestMP3CutOutOfALongerOneBeginsInSilence(t *testing.T) {
	t.Parallel()
	data := fixture(t, "stereo_44100.mp3")
	second := bytes.Index(data[4:], data[:2]) + 4
	if _, _, err := decodeAll(data[second:]); err != nil {
		t.Errorf("without its first frame: %v", err)
	}
}

func TestWhatIsNotDecodedIsUnsupported(t *testing.T) {
	t.Parallel()
	for name, data := range map[string][]byte{
		"empty": nil, "text": []byte("hello, this is no audio at all"), "png": []byte("\x89PNG\r\n\x1a\n0000000000"),
		"opus":           append([]byte("OggS"), "\x00\x02000000000000000000000000OpusHead"...),
		"mpeg 2.5, 8khz": fixture(t, "mono_8000.mp3"),
	} {
		if _, _, err := decodeAll(data); !errors.Is(err, decode.ErrUnsupported) {
			t.Errorf("%s: %v, want unsupported", name, err)
		}
	}
}

func TestSamplesThatAreNoNumbersAreRefused(t *testing.T) {
	t.Parallel()
	data := bytes.Clone(fixture(t, "f32.wav"))
	binary.LittleEndian.PutUint32(data[len(data)-8:], math.Float32bits(float32(math.NaN())))
	if _, _, err := decodeAll(data); !errors.Is(err, decode.ErrMalformed) {
		t.Errorf("NaN: %v, want malformed", err)
	}
}

// FuzzDecode looks for panics and endless loops; samples must be numbers.
func FuzzDecode(f *testing.F) {
	names, err := filepath.Glob("testdata/*.*")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		data := fixture(f, filepath.Base(name))
		f.Add(data[:min(len(data), 6000)])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, samples, err := decodeAll(data)
		if err == nil && len(data) == 0 {
			t.Error("audio out of nothing")
		}
		for _, v := range samples {
			if v != v || math.IsInf(float64(v), 0) {
				t.Fatalf("sample %v", v)
			}
		}
	})
}

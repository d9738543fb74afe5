package decode_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"sori.internal/infra/analyzer/internal/decode"
	"sori.internal/infra/analyzer/internal/decode/decodetest"
	"sori.internal/shared/decoding"
)

// decoded is the result of decoding a recording.
type decoded struct {
	decode.Info
	samples  []float32
	warnings []string
}

func (d decoded) seconds() float64 { return float64(len(d.samples)) / float64(d.Channels*d.SampleRate) }

// decodeAll reads all samples in blocks of a size that does not divide the size of the decoder's protocol frames.
func decodeAll(t *testing.T, d *decode.Decoder, src decode.Source) (decoded, error) {
	t.Helper()
	s, err := d.Open(t.Context(), src)
	if err != nil {
		return decoded{}, err
	}
	got := decoded{Info: s.Info()}
	block := make([]float32, 1777)
	for err == nil {
		var n int
		n, err = s.Read(block)
		got.samples = append(got.samples, block[:n]...)
	}
	got.warnings = s.Close()
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return got, err
}

// code returns the code of a *decode.Error, and "" for any other error.
func code(err error) string {
	if e, ok := errors.AsType[*decode.Error](err); ok {
		return e.Code
	}
	return ""
}

// tone returns the amplitude of the sine of frequency hz in one channel. It ignores the start and the end of the
// samples, where lossy codecs fade.
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

// Every fixture contains a 220 Hz sine at -6 dBFS. Its decoded duration must be the one that ffmpeg reports.
func TestKnownFilesDecodeToTheirTone(t *testing.T) {
	t.Parallel()
	d := decodetest.New(t, decode.Settings{})
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
		{"mono.ogg", "ogg", "vorbis", 16000, 1, 0.5, 0.02},
		{"stereo.ogg", "ogg", "vorbis", 44100, 2, 0.5, 0.02},
		{"mono_8000.mp3", "mp3", "mp3", 8000, 1, 0.5, 0.2},
		{"mono_11025.mp3", "mp3", "mp3", 11025, 1, 0.573968, 0.06},
		{"mono_16000.mp3", "mp3", "mp3", 16000, 1, 0.54, 0.06},
		{"mono_22050.mp3", "mp3", "mp3", 22050, 1, 0.547982, 0.06},
		{"vbr_22050.mp3", "mp3", "mp3", 22050, 1, 0.548, 0.06},
		{"mono_44100.mp3", "mp3", "mp3", 44100, 1, 0.521995, 0.06},
		{"mono_48000.mp3", "mp3", "mp3", 48000, 1, 0.504, 0.06},
		{"stereo_22050.mp3", "mp3", "mp3", 22050, 2, 0.547982, 0.06},
		{"stereo_44100.mp3", "mp3", "mp3", 44100, 2, 0.521995, 0.06},
	} {
		got, err := decodeAll(t, d, decodetest.File(t, fixture(t, c.name)))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got.Format != c.format || got.Codec != c.codec || got.SampleRate != c.rate || got.Channels != c.channels || len(got.warnings) > 0 {
			t.Errorf("%s: %+v, %v", c.name, got.Info, got.warnings)
		}
		if math.Abs(got.seconds()-c.seconds) > c.tolerance+1e-9 {
			t.Errorf("%s: duration = %v s, want %v", c.name, got.seconds(), c.seconds)
		}
		for ch := range c.channels {
			want := 0.501
			if c.format == "mp3" && c.name != "vbr_22050.mp3" {
				want *= 0.95 // encoders lower the level at constant bit rates
			}
			if a := tone(got.samples, ch, c.channels, c.rate, 220); math.Abs(a-want) > 0.01 {
				t.Errorf("%s, channel %d: amplitude %v at 220 Hz, want %v", c.name, ch, a, want)
			}
		}
	}
}

// A plain WAV file is read directly, without FFmpeg. The samples must be those that FFmpeg decodes.
func TestPlainWAVIsReadAsFFmpegReadsIt(t *testing.T) {
	t.Parallel()
	d := decodetest.New(t, decode.Settings{})
	for _, name := range []string{"u8.wav", "s16.wav", "s24.wav", "s32.wav", "f32.wav", "six.wav"} {
		plain := fixture(t, name)
		unusual := bytes.Clone(plain)
		// Programs that write to a pipe leave this size in the header. Only FFmpeg decodes such files.
		binary.LittleEndian.PutUint32(unusual[bytes.Index(unusual, []byte("data"))+4:], math.MaxUint32)
		want, err := decodeAll(t, d, decodetest.File(t, unusual))
		if err != nil {
			t.Fatal(name, err)
		}
		got, err := decodeAll(t, d, decodetest.File(t, plain))
		if err != nil || !slices.Equal(got.samples, want.samples) || !slices.Equal(got.Roles, want.Roles) || got.Codec != want.Codec || got.Format != want.Format {
			t.Errorf("%s: %+v, %d samples, %v; want %+v, %d samples", name, got.Info, len(got.samples), err, want.Info, len(want.samples))
		}
	}
}

func TestRolesFollowTheContainer(t *testing.T) {
	t.Parallel()
	d := decodetest.New(t, decode.Settings{})
	got, err := decodeAll(t, d, decodetest.File(t, fixture(t, "six.wav")))
	want := []decode.Role{0, 0, 0, decode.RoleLFE, decode.RoleSurround, decode.RoleSurround}
	if err != nil || !slices.Equal(got.Roles, want) {
		t.Errorf("roles %v, %v; want %v", got.Roles, err, want)
	}
}

func TestClippingIsThreeSamplesAtFullScaleInOneChannel(t *testing.T) {
	t.Parallel()
	d := decodetest.New(t, decode.Settings{})
	wav := fixture(t, "s16.wav")
	at := bytes.Index(wav, []byte("data")) + 8
	for run, want := range map[int]bool{2: false, 3: true} {
		data := bytes.Clone(wav)
		for i := range run {
			binary.LittleEndian.PutUint16(data[at+100+2*i:], math.MaxInt16)
		}
		got, err := decodeAll(t, d, decodetest.File(t, data))
		if err != nil || slices.Contains(got.warnings, decode.WarningClipped) != want {
			t.Errorf("%d samples: %v, %v", run, got.warnings, err)
		}
	}
}

func TestSamplesThatAreNoNumbersAreSilence(t *testing.T) {
	t.Parallel()
	d := decodetest.New(t, decode.Settings{})
	data := fixture(t, "f32.wav")
	for i, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		binary.LittleEndian.PutUint32(data[len(data)-4*(i+1):], math.Float32bits(float32(v)))
	}
	got, err := decodeAll(t, d, decodetest.File(t, data))
	if err != nil || !slices.Equal(got.warnings, []string{decode.WarningNotFinite}) || len(got.samples) != 8000 {
		t.Fatalf("%d samples, %v, %v", len(got.samples), got.warnings, err)
	}
	for _, v := range got.samples {
		if v != v || v > 1 || v < -1 {
			t.Fatalf("sample %v", v)
		}
	}
}

func TestWhatIsNotAudioIsUnsupported(t *testing.T) {
	t.Parallel()
	d := decodetest.New(t, decode.Settings{})
	for name, data := range map[string]string{
		"empty": "", "text": "hello, this is no audio at all", "png": "\x89PNG\r\n\x1a\n0000000000",
		"playlist": "#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "concat": "ffconcat version 1.0\nfile '/etc/passwd'\n",
	} {
		if _, err := decodeAll(t, d, decodetest.File(t, []byte(data))); code(err) != decoding.CodeUnsupportedAudio {
			t.Errorf("%s: %v, want unsupported", name, err)
		}
	}
}

func TestADecodeEndsWithItsContextAndTheNextGoesOn(t *testing.T) {
	t.Parallel()
	d := decodetest.New(t, decode.Settings{})
	src := decodetest.File(t, fixture(t, "stereo.flac"))
	ctx, cancel := context.WithCancelCause(t.Context())
	s, err := d.Open(ctx, src)
	if err != nil {
		t.Fatal(err)
	}
	why := errors.New("the job was canceled")
	cancel(why)
	block := make([]float32, 100)
	for err == nil {
		_, err = s.Read(block)
	}
	s.Close()
	if !errors.Is(err, why) && !errors.Is(err, io.EOF) { // io.EOF: all samples had been received before the context ended
		t.Errorf("ended with %v", err)
	}
	if _, err := d.Open(ctx, src); !errors.Is(err, why) {
		t.Errorf("opened after its end: %v", err)
	}
	if got, err := decodeAll(t, d, src); err != nil || len(got.samples) != 16000 {
		t.Errorf("afterwards: %d samples, %v", len(got.samples), err)
	}
}

package analysis_test

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sori.internal/infra/analyzer/internal/analysis"
	"sori.internal/infra/analyzer/internal/decode"
	"sori.internal/infra/analyzer/internal/decode/decodetest"
	"sori.internal/shared/decoding"
	"sori.internal/shared/media"
)

// recordings is the folder with the test files of package media: files of real encoders, one for each known container
// and codec.
const recordings = "../../../../shared/media/testdata"

func TestEveryKnownFormatIsAnalysedWithTheLengthThatTheListShows(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir(recordings)
	if err != nil {
		t.Fatal(err)
	}
	d := decodetest.New(t, decode.Settings{})
	for _, entry := range entries {
		if entry.IsDir() {
			continue
		}
		data, err := os.ReadFile(filepath.Join(recordings, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		meter := media.NewMeter(int64(len(data)))
		_, _ = meter.Write(data)
		info := meter.Info()
		got, err := analysis.Run(t.Context(), d, decodetest.File(t, data), analysis.Options{MaxSeconds: 60, MaxPitchPoints: 100})
		if err != nil {
			t.Errorf("%s: %v", entry.Name(), err)
			continue
		}
		if got.Duration <= 0 || len(got.Warnings) > len(info.Warnings) || info.DurationKnown && math.Abs(got.Duration-info.Duration.Seconds()) > 0.001 {
			t.Errorf("%s: %v s, %v; the list has %v", entry.Name(), got.Duration, got.Warnings, info.Duration)
		}
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(recordings, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestDamagedAndOddFilesYieldWhatIsInThem(t *testing.T) {
	t.Parallel()
	id3 := append([]byte("ID3\x04\x00\x00\x00\x00\x02\x00"), make([]byte, 256)...)
	tag := append([]byte("TAG"), make([]byte, 125)...)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	cut := func(name string, behind int) []byte { data := read(t, name); return data[:len(data)-behind] }
	blockAlign := bytes.Clone(read(t, "pcm16.wav"))
	blockAlign[32], blockAlign[33] = 0, 0
	bw64 := bytes.Clone(read(t, "large.rf64"))
	copy(bw64, "BW64")
	d := decodetest.New(t, decode.Settings{})
	for name, c := range map[string]struct {
		data    []byte
		seconds float64 // smallest length that the result may have
	}{
		"a WAV cut short":                     {cut("pcm16.wav", 1001), 0.28},
		"a WAV cut in a sample":               {cut("pcm16.wav", 1), 0.31},
		"a WAV with a wrong block align":      {blockAlign, 0.312},
		"a BW64 file":                         {bw64, 0.312},
		"a FLAC cut short":                    {cut("mono.flac", 1000), 0.2},
		"a FLAC behind an ID3v2 tag":          {join(id3, read(t, "mono.flac")), 0.312},
		"a FLAC before an ID3v1 tag":          {join(read(t, "mono.flac"), tag), 0.312},
		"an MP3 cut short":                    {cut("cbr.mp3", 100), 1.5},
		"an MP3 that begins in a frame":       {read(t, "cbr.mp3")[100:], 1.4},
		"an MP3 behind junk":                  {join(bytes.Repeat([]byte("junk "), 500), read(t, "cbr.mp3")), 1.5},
		"an MP3 between tags":                 {join(id3, read(t, "cbr.mp3"), tag), 1.5},
		"an Ogg cut short":                    {cut("opus-pages.ogg", 500), 0.5},
		"two Ogg files, one behind the other": {join(read(t, "opus.ogg"), read(t, "opus-pages.ogg")), 1.49},
		"a WebM cut short":                    {cut("live.webm", 700), 0.4},
		"a fragmented MP4 cut short":          {cut("fragmented.mp4", 1500), 0.2},
		"an ADTS cut short":                   {cut("stereo.aac", 100), 0.4},
	} {
		got, err := analysis.Run(t.Context(), d, decodetest.File(t, c.data), analysis.Options{MaxSeconds: 60, MaxPitchPoints: 100})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.Duration < c.seconds {
			t.Errorf("%s: %v s, want %v", name, got.Duration, c.seconds)
		}
		t.Log(name, got.Format, got.Duration, got.Warnings)
	}
}

func TestACodecThatCannotBeDecodedIsNamed(t *testing.T) {
	t.Parallel()
	d := decodetest.New(t, decode.Settings{})
	data := bytes.Replace(read(t, "alac.m4a"), []byte("alac"), []byte("zzzz"), 1)
	_, err := analysis.Run(t.Context(), d, decodetest.File(t, data), analysis.Options{MaxSeconds: 60, MaxPitchPoints: 100})
	if e, ok := errors.AsType[*decode.Error](err); !ok || e.Code != decoding.CodeUnsupportedCodec || !strings.Contains(e.Detail, `"zzzz"`) {
		t.Errorf("%v", err)
	}
}

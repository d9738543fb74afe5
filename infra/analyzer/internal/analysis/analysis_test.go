package analysis_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"

	"sori.internal/infra/analyzer/internal/analysis"
	"sori.internal/infra/analyzer/internal/decode"
	"sori.internal/infra/analyzer/internal/decode/decodetest"
	"sori.internal/shared/decoding"
)

// wav returns a WAV file with one channel of 16-bit samples.
func wav(rate int, samples []float64) []byte {
	b := []byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00")
	le := binary.LittleEndian
	b = le.AppendUint32(b, uint32(rate))
	b = le.AppendUint32(b, uint32(2*rate))
	b = append(b, 2, 0, 16, 0, 'd', 'a', 't', 'a')
	b = le.AppendUint32(b, uint32(2*len(samples)))
	for _, v := range samples {
		b = le.AppendUint16(b, uint16(int16(math.Round(v*32767))))
	}
	return b
}

func tone(rate int, hz, peak, seconds float64) []float64 {
	out := make([]float64, int(seconds*float64(rate)))
	for i := range out {
		out[i] = peak * math.Sin(2*math.Pi*hz*float64(i)/float64(rate))
	}
	return out
}

func run(t *testing.T, data []byte, opts analysis.Options) (map[string]any, error) {
	t.Helper()
	if opts.MaxSeconds == 0 {
		opts.MaxSeconds = 60
	}
	if opts.MaxPitchPoints == 0 {
		opts.MaxPitchPoints = 1000
	}
	decoder := decodetest.New(t, decode.Settings{MaxSeconds: opts.MaxSeconds})
	result, err := analysis.Run(t.Context(), decoder, decodetest.File(t, data), opts)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return fields, nil
}

func TestToneHasEveryFigure(t *testing.T) {
	t.Parallel()
	for _, rate := range []int{8000, 16000, 44100, 48000} {
		got, err := run(t, wav(rate, tone(rate, 220, 0.5, 2)), analysis.Options{Reference: []float64{220, 220, 220, 220, 220}})
		if err != nil {
			t.Fatal(err)
		}
		for field, want := range map[string][2]float64{
			"duration": {2, 0}, "sample_rate": {float64(rate), 0}, "channels": {1, 0}, "peak_dbfs": {-6.02, 0.02}, "true_peak_dbtp": {-6.02, 0.3},
			"pitch_median_hz": {220, 1}, "voiced_segments": {1, 0}, "speech_rate": {0.5, 0}, "pitch_similarity": {100, 3}, "speech_seconds": {2, 0},
		} {
			if v, ok := got[field].(float64); !ok || math.Abs(v-want[0]) > want[1] {
				t.Errorf("%d Hz: %s = %v, want %v", rate, field, got[field], want[0])
			}
		}
		if n := len(got["waveform"].(map[string]any)["min"].([]any)); n != 512 {
			t.Errorf("%d points", n)
		}
	}
}

func TestSilenceIsNullAndNeverNaN(t *testing.T) {
	t.Parallel()
	for name, samples := range map[string][]float64{"silence": make([]float64, 16000), "one sample": {0}} {
		got, err := run(t, wav(16000, samples), analysis.Options{})
		if err != nil {
			t.Fatal(name, err)
		}
		for _, field := range []string{"loudness_lufs", "peak_dbfs", "true_peak_dbtp", "pitch_median_hz", "articulation_rate", "pitch_similarity"} {
			if v, ok := got[field]; !ok || v != nil {
				t.Errorf("%s: %s = %v, want null", name, field, v)
			}
		}
	}
}

func TestLongTracksGetALargerHop(t *testing.T) {
	t.Parallel()
	got, err := run(t, wav(8000, tone(8000, 200, 0.5, 10)), analysis.Options{MaxPitchPoints: 300})
	if err != nil {
		t.Fatal(err)
	}
	pitch := got["pitch"].(map[string]any)
	if hop, n := pitch["hop_seconds"], len(pitch["hz"].([]any)); hop != 0.04 || n != 250 {
		t.Errorf("%d values every %v s, want 250 every 0.04 s", n, hop)
	}
}

func TestWhatCannotBeMeasuredIsAnError(t *testing.T) {
	t.Parallel()
	long := wav(8000, make([]float64, 8000*3))
	if _, err := run(t, long, analysis.Options{MaxSeconds: 2}); !errors.Is(err, analysis.ErrTooLong) {
		t.Errorf("too long: %v", err)
	}
	_, err := run(t, wav(8000, nil), analysis.Options{})
	if e, ok := errors.AsType[*decode.Error](err); !ok || e.Code != decoding.CodeNoAudio {
		t.Errorf("no samples: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	decoder := decodetest.New(t, decode.Settings{})
	if _, err := analysis.Run(ctx, decoder, decodetest.File(t, long), analysis.Options{MaxSeconds: 9}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func TestProgressReachesTheEnd(t *testing.T) {
	t.Parallel()
	last := 0.0
	_, err := run(t, wav(8000, make([]float64, 80000)), analysis.Options{Progress: func(f float64) {
		if f < last || f > 1 {
			t.Errorf("progress %v after %v", f, last)
		}
		last = f
	}})
	if err != nil || last < 0.99 {
		t.Errorf("ended at %v, %v", last, err)
	}
}

// The fixture is synthetic speech, the beginning of an English sentence. Its pitch, first segment and articulation rate
// must be plausible for speech.
func TestSpeechLooksLikeSpeech(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/speech.flac")
	if err != nil {
		t.Fatal(err)
	}
	got, err := run(t, data, analysis.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if hz := got["pitch_median_hz"].(float64); hz < 80 || hz > 140 {
		t.Errorf("median %v Hz", hz)
	}
	segments := got["segments"].([]any)
	if first := segments[0].(map[string]any); first["kind"] != "silence" || first["start"] != 0.0 {
		t.Errorf("first segment %v", first)
	}
	if rate := got["articulation_rate"].(float64); rate < 2 || rate > 6 {
		t.Errorf("articulation rate %v", rate)
	}
}

func TestParseReference(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		`[{"time":0,"hz":100},{"time":0.01,"hz":null},{"time":0.02,"hz":0},{"time":0.03,"hz":101.5}]`: 2,
		`[{"time":0,"frequency":100},{"time":1,"f0":90},{"pitch":80}]`:                                3,
		`{"hop_seconds":0.01,"hz":[null,120.5,121]}`:                                                  2,
	} {
		if got, err := analysis.ParseReference(strings.NewReader(text)); err != nil || len(got) != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "[]", "{}", "null", `"x"`, "[1,2]", `[{"hz":"a"}]`, strings.Repeat("[", 100000)} {
		if _, err := analysis.ParseReference(strings.NewReader(text)); !errors.Is(err, analysis.ErrReference) {
			t.Errorf("%.20s: %v", text, err)
		}
	}
}

// Entries without a pitch must need no memory, since a file of the permitted size may have ten million entries.
func TestAReferenceCostsTheMemoryOfItsVoicedValuesOnly(t *testing.T) { //nolint:paralleltest // measures the process
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	large := io.MultiReader(strings.NewReader("["), strings.NewReader(strings.Repeat("{},", 2<<20)), strings.NewReader(`{"hz":100}]`))
	got, err := analysis.ParseReference(large)
	runtime.ReadMemStats(&after)
	if err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 24<<20 { // the text itself needs 6 MB
		t.Errorf("the heap grew by %d MB", grown>>20)
	}
	if _, err := analysis.ParseReference(strings.NewReader("[" + strings.Repeat(`{"hz":1},`, 1_100_000) + "{}]")); !errors.Is(err, analysis.ErrReference) {
		t.Errorf("more than three hours: %v", err)
	}
}

func FuzzParseReference(f *testing.F) {
	f.Add([]byte(`[{"time":0,"hz":100}]`))
	f.Add([]byte(`{"hz":[1,null]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		values, err := analysis.ParseReference(bytes.NewReader(data))
		for _, v := range values {
			if !(v > 0) || err != nil {
				t.Fatalf("%v, %v", values, err)
			}
		}
	})
}

// BenchmarkSpeech reports how many seconds of 16 kHz mono speech are analysed in one second.
func BenchmarkSpeech(b *testing.B) {
	data, err := os.ReadFile("testdata/speech.flac")
	if err != nil {
		b.Fatal(err)
	}
	decoder, src := decodetest.New(b, decode.Settings{}), decodetest.File(b, data)
	seconds := 0.0
	for b.Loop() {
		r, err := analysis.Run(b.Context(), decoder, src, analysis.Options{MaxSeconds: 60, MaxPitchPoints: 9999})
		if err != nil {
			b.Fatal(err)
		}
		seconds += r.Duration
	}
	b.ReportMetric(seconds/b.Elapsed().Seconds(), "x-realtime")
}

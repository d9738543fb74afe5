package analysis_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sori.internal/infra/analyzer/internal/analysis"
	"sori.internal/infra/analyzer/internal/decode"
	"sori.internal/infra/analyzer/internal/decode/decodetest"
)

func TestAReferenceThatEndsAnywhereIsRefused(t *testing.T) {
	t.Parallel()
	for _, whole := range []string{
		"\ufeff" + `[{"time":0,"hz":100},{"time":1,"f0":90}]`,
		" \r\n\t" + `{"hop_seconds":0.01,"voicing":[0,1],"hz":[null,120.5]}`,
		`{"hz":null,"HZ":[80]}`,
	} {
		if got, err := analysis.ParseReference(strings.NewReader(whole)); err != nil || len(got) == 0 {
			t.Errorf("%s: %v, %v", whole, got, err)
		}
		for at := range whole {
			if got, err := analysis.ParseReference(strings.NewReader(whole[:at])); !errors.Is(err, analysis.ErrReference) {
				t.Errorf("%s: %v, %v", whole[:at], got, err)
			}
		}
		if got, err := analysis.ParseReference(strings.NewReader(whole + "1")); !errors.Is(err, analysis.ErrReference) {
			t.Errorf("%s1: %v, %v", whole, got, err)
		}
	}
}

func TestAReferenceOfAnotherFormOrWithTooManyValuesIsRefused(t *testing.T) {
	t.Parallel()
	const most = 3 * 3600 * 100
	values := strings.Repeat("100,", most-1) + "100"
	if got, err := analysis.ParseReference(strings.NewReader(`{"hz":[` + values + `]}`)); err != nil || len(got) != most {
		t.Errorf("%d values, %v", len(got), err)
	}
	for _, text := range []string{
		`{"hz":[` + values + `,100]}`, "[" + strings.Repeat(`{"hz":100},`, most) + `{"hz":100}]`,
		`{"hz":1}`, `{"hz":{}}`, `{"hz":["a"]}`, `{"hz":]}`, `{"hz" 1}`, `{1:2}`, `[{}]`, `{"hz":[]}`, `{"hz":[0,-1,null]}`,
	} {
		if got, err := analysis.ParseReference(strings.NewReader(text)); !errors.Is(err, analysis.ErrReference) {
			t.Errorf("%.20s: %d values, %v", text, len(got), err)
		}
	}
}

func TestAnAnalysisOfAPlainWAVFileEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the job was canceled")
	src := decodetest.File(t, wav(8000, make([]float64, 80000)))
	calls := 0
	_, err := analysis.Run(ctx, decodetest.New(t, decode.Settings{}), src, analysis.Options{MaxSeconds: 60, Progress: func(float64) {
		calls++
		cancel(why)
	}})
	if !errors.Is(err, why) || calls != 1 {
		t.Errorf("%v after %d blocks", err, calls)
	}
}

// Programs that write to a pipe do not state the length in the header. Then the size of the file decides.
func TestARecordingWhoseHeaderHasNoLengthIsTooLongIfItsSamplesAre(t *testing.T) {
	t.Parallel()
	data := wav(8000, make([]float64, 3*8000))
	binary.LittleEndian.PutUint32(data[bytes.Index(data, []byte("data"))+4:], math.MaxUint32)
	if _, err := run(t, data, analysis.Options{MaxSeconds: 2.5}); !errors.Is(err, analysis.ErrTooLong) {
		t.Errorf("%v", err)
	}
	if got, err := run(t, data, analysis.Options{MaxSeconds: 3}); err != nil || got["duration"] != 3.0 {
		t.Errorf("%v, %v", got["duration"], err)
	}
}

func TestSilenceHasNoPitchToCompare(t *testing.T) {
	t.Parallel()
	got, err := run(t, wav(16000, make([]float64, 16000)), analysis.Options{Reference: []float64{220, 220, 220, 220, 220}})
	if err != nil || got["pitch_similarity"] != nil || !slices.Contains(got["warnings"].([]any), any("too few voiced frames to compare the pitch")) {
		t.Errorf("%v, %v, %v", got["pitch_similarity"], got["warnings"], err)
	}
}

func TestARecordingThatIsGoneIsAnError(t *testing.T) {
	t.Parallel()
	src := decode.Source{Path: filepath.Join(t.TempDir(), "gone"), Size: 1}
	if _, err := analysis.Run(t.Context(), decodetest.New(t, decode.Settings{}), src, analysis.Options{MaxSeconds: 60}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// ITU-R BS.1770-4: a surround channel counts 1.41 times (1.5 dB), the LFE channel does not count.
func TestTheLoudnessOfAChannelDependsOnItsSpeaker(t *testing.T) {
	t.Parallel()
	six, err := os.ReadFile("../decode/testdata/six.wav")
	if err != nil {
		t.Fatal(err)
	}
	format := bytes.Index(six, []byte("fmt ")) + 8
	loudness := func(channel int) any {
		data := slices.Clone(six[:format+40])
		const seconds = 1
		samples := make([]byte, 8000*6*2*seconds)
		for i := range 8000 * seconds {
			v := int16(16000 * math.Sin(2*math.Pi*220*float64(i)/8000))
			binary.LittleEndian.PutUint16(samples[(i*6+channel)*2:], uint16(v))
		}
		data = binary.LittleEndian.AppendUint32(append(data, "data"...), uint32(len(samples)))
		got, err := run(t, append(data, samples...), analysis.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return got["loudness_lufs"]
	}
	front, low, rear := loudness(0).(float64), loudness(3), loudness(4).(float64)
	if low != nil || math.Abs(rear-front-1.49) > 0.02 {
		t.Errorf("front %v, LFE %v, rear %v", front, low, rear)
	}
}

func TestANumberThatIsNotFiniteIsNullInJSON(t *testing.T) {
	t.Parallel()
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if text, err := analysis.Decimal2(v).MarshalJSON(); err != nil || string(text) != "null" {
			t.Errorf("%v: %s, %v", v, text, err)
		}
	}
}

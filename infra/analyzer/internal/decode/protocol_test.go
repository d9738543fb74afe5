package decode

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sori.internal/shared/decoding"
)

// stubbed returns a decoder whose program is the stub.
func stubbed(t *testing.T, settings Settings) *Decoder {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	settings.Program, settings.Processes, settings.MaxSeconds = program, 1, max(settings.MaxSeconds, 1)
	settings.Run = func(cmd *exec.Cmd) error {
		cmd.Env = append(cmd.Env, "GORACE=atexit_sleep_ms=0") // otherwise a process with the race detector takes a second to end
		return cmd.Start()
	}
	d := New(settings)
	t.Cleanup(d.Close)
	return d
}

// answer is a sequence of frames.
type answer struct{ bytes.Buffer }

// frame adds a frame. A body that is neither bytes nor a text becomes JSON.
func (a *answer) frame(t *testing.T, kind byte, body any) *answer {
	t.Helper()
	w := decoding.NewWriter(a)
	var err error
	switch b := body.(type) {
	case []byte:
		err = w.Frame(kind, b)
	case string:
		err = w.Frame(kind, []byte(b))
	default:
		err = w.JSON(kind, b)
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// of returns an answer with a header.
func of(t *testing.T, h decoding.Header) *answer {
	t.Helper()
	return new(answer).frame(t, decoding.TypeHeader, h)
}

// mono is the header of most answers.
func mono() decoding.Header {
	return decoding.Header{Container: "ogg", Codec: "opus", SampleRate: 48000, Channels: 1}
}

// good is a complete answer with the samples 1, -0.5 and 0.
func good(t *testing.T) []byte {
	t.Helper()
	samples := []byte{0, 0, 0x80, 0x3f, 0, 0, 0, 0xbf, 0, 0, 0, 0}
	return of(t, mono()).frame(t, decoding.TypeSamples, samples).frame(t, decoding.TypeEnd, decoding.End{}).Bytes()
}

// decodeAnswer decodes a recording that makes the stub write an answer. It returns the samples before the error.
func decodeAnswer(t *testing.T, d *Decoder, answer []byte) (Info, []float32, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "recording")
	if err := os.WriteFile(path, answer, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := d.Open(t.Context(), Source{Path: path, Size: int64(len(answer))})
	if err != nil {
		return Info{}, nil, err
	}
	defer s.Close()
	var samples []float32
	block := make([]float32, 1)
	for {
		n, err := s.Read(block)
		samples = append(samples, block[:n]...)
		if errors.Is(err, io.EOF) {
			return s.Info(), samples, nil
		}
		if err != nil {
			return s.Info(), samples, err
		}
	}
}

// decodesGood checks that a decoder decodes a recording.
func decodesGood(t *testing.T, d *Decoder) {
	t.Helper()
	info, samples, err := decodeAnswer(t, d, good(t))
	if err != nil || info.Codec != "opus" || !slices.Equal(samples, []float32{1, -0.5, 0}) {
		t.Errorf("the next recording: %+v, %v, %v", info, samples, err)
	}
}

func TestAnAnswerThatBreaksTheProtocolFailsOnlyItsRecording(t *testing.T) {
	t.Parallel()
	silent := mono()
	silent.Channels = 0
	for name, c := range map[string]struct {
		answer *answer
		code   string
		detail string // part of the sentence for the user
	}{
		"no header":                  {new(answer).frame(t, decoding.TypeSamples, "0000"), decoding.CodeCrashed, "crash"},
		"a header that is no JSON":   {new(answer).frame(t, decoding.TypeHeader, "{"), decoding.CodeCrashed, "crash"},
		"no channels":                {of(t, silent), decoding.CodeLimit, "time"},
		"two headers":                {of(t, mono()).frame(t, decoding.TypeHeader, mono()), decoding.CodeCrashed, "crash"},
		"an end that is no JSON":     {of(t, mono()).frame(t, decoding.TypeEnd, "{"), decoding.CodeCrashed, "crash"},
		"only an end":                {new(answer).frame(t, decoding.TypeEnd, decoding.End{}), decoding.CodeNoAudio, "Nothing"},
		"only an end that is broken": {new(answer).frame(t, decoding.TypeEnd, "}"), decoding.CodeCrashed, "crash"},
		"no samples":                 {of(t, mono()).frame(t, decoding.TypeEnd, decoding.End{}), decoding.CodeNoAudio, "Nothing"},
		"an unknown codec": {
			new(answer).frame(t, decoding.TypeEnd, decoding.End{Code: decoding.CodeUnsupportedCodec, Found: "qdm2", Complaints: []string{"no decoder"}}),
			decoding.CodeUnsupportedCodec, `"qdm2"`,
		},
		"a limit in the middle": {
			of(t, mono()).frame(t, decoding.TypeSamples, "0000").frame(t, decoding.TypeEnd, decoding.End{Code: decoding.CodeLimit}), decoding.CodeLimit, "time",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := stubbed(t, Settings{})
			for range 2 { // by a new process, and by one that has decoded another recording
				_, _, err := decodeAnswer(t, d, c.answer.Bytes())
				if e, ok := errors.AsType[*Error](err); !ok || e.Code != c.code || !strings.Contains(e.Detail, c.detail) {
					t.Errorf("%v, want %s", err, c.code)
				}
				decodesGood(t, d)
			}
		})
	}
}

func TestADecoderThatEndsAnywhereInItsAnswerFailsOnlyItsRecording(t *testing.T) {
	t.Parallel()
	d := stubbed(t, Settings{})
	whole := good(t)
	for at := range whole {
		_, samples, err := decodeAnswer(t, d, whole[:at])
		if e, ok := errors.AsType[*Error](err); !ok || e.Code != decoding.CodeCrashed || len(samples) > 3 {
			t.Errorf("after %d of %d bytes: %v, %v", at, len(whole), samples, err)
		}
	}
	decodesGood(t, d)
}

func TestADecoderThatDoesNotStartIsNotTheFaultOfTheRecording(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the job was canceled")
	cancel(why)
	for name, c := range map[string]struct {
		settings Settings
		program  string
		ends     bool // the job ends before the decoder has started
		want     string
	}{
		"it does not exist": {Settings{}, filepath.Join(t.TempDir(), "none"), false, "start the decoder"},
		"it fails":          {Settings{Memory: memoryTooSmall}, "", false, "stub: " + os.ErrInvalid.Error()},
		"the job ends":      {Settings{Memory: memoryForever}, "", true, why.Error()},
	} {
		ctx := t.Context()
		if c.ends {
			ctx = ended
		}
		d := stubbed(t, c.settings)
		if c.program != "" {
			d.program = NewProgram(c.program, "")
		}
		_, err := d.launch(ctx)
		if _, ok := errors.AsType[*Error](err); err == nil || ok || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestARecordingIsDescribedByItsContainerAndTheSpeakersOfItsChannels(t *testing.T) {
	t.Parallel()
	const front, rear, low = RoleFront, RoleSurround, RoleLFE
	d := stubbed(t, Settings{})
	for _, c := range []struct {
		container string
		mask      uint32
		format    string
		roles     []Role
	}{
		{"mov,mp4,m4a,3gp,3g2,mj2", 0, "mp4", []Role{front}},
		{"matroska,webm", 0, "webm", []Role{front, front}},
		{"aac", 0, "adts", []Role{front, front, front}},
		{"amrwb", 0, "amr", []Role{front, front, rear, rear}},
		{"wav", 0, "wav", []Role{front, front, front, rear, rear}},
		{"flac", 0, "flac", []Role{front, front, front, low, rear, rear}},
		{"flac", 0b101_0000_1000, "flac", []Role{low, rear, rear}},
		{"flac", 0b1000_0000_0001, "flac", []Role{front, front, front}}, // two speakers for three channels
	} {
		header := decoding.Header{Container: c.container, SampleRate: 8000, Channels: len(c.roles), Mask: c.mask}
		answer := of(t, header).frame(t, decoding.TypeSamples, make([]byte, 4*len(c.roles))).frame(t, decoding.TypeEnd, decoding.End{})
		path := filepath.Join(t.TempDir(), "recording")
		if err := os.WriteFile(path, answer.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := d.Open(t.Context(), Source{Path: path, Size: 1})
		if err != nil {
			t.Fatal(err)
		}
		if i := s.Info(); i.Format != c.format || !slices.Equal(i.Roles, c.roles) {
			t.Errorf("%s with speakers %b: %s, %v; want %s, %v", c.container, c.mask, i.Format, i.Roles, c.format, c.roles)
		}
		if _, err := s.Read(make([]float32, len(c.roles)-1)); !errors.Is(err, io.ErrShortBuffer) {
			t.Errorf("a block that is shorter than a frame: %v", err)
		}
		if p := s.Progress(); p != 0 {
			t.Errorf("progress %v of an unknown duration", p)
		}
		s.Close()
	}
}

// The limit is two channels at 48 kHz for the longest duration, and eight samples for each byte of the file.
func TestARecordingWithTooManySamplesFails(t *testing.T) {
	t.Parallel()
	d := stubbed(t, Settings{MaxSeconds: 1})
	for frames, want := range map[int]string{6: "", 7: decoding.CodeLimit} {
		answer := of(t, mono())
		for range frames {
			answer.frame(t, decoding.TypeSamples, make([]byte, decoding.MaxFrame))
		}
		answer.frame(t, decoding.TypeEnd, decoding.End{})
		path := filepath.Join(t.TempDir(), "recording")
		if err := os.WriteFile(path, answer.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := d.Open(t.Context(), Source{Path: path, Size: 1 << 10})
		for block := make([]float32, 1<<10); err == nil; {
			_, err = s.Read(block)
		}
		s.Close()
		if e, ok := errors.AsType[*Error](err); ok && e.Code != want || !ok && (want != "" || !errors.Is(err, io.EOF)) {
			t.Errorf("%d samples: %v, want %q", frames*decoding.MaxFrame/4, err, want)
		}
	}
}

// A plain WAV file is read without the decoder.
func TestAPlainWAVFileThatBecomesShorterIsAnError(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/s16.wav")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "recording")
	if err := os.WriteFile(path, slices.Concat(data, make([]byte, 10)), 0o600); err != nil {
		t.Fatal(err)
	}
	d := stubbed(t, Settings{})
	s, err := d.Open(t.Context(), Source{Path: path, Size: int64(len(data))})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, int64(len(data))-1); err != nil {
		t.Fatal(err)
	}
	for block := make([]float32, 1024); err == nil; {
		_, err = s.Read(block)
	}
	s.Close()
	if !errors.Is(err, errChanged) {
		t.Errorf("%v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Open(t.Context(), Source{Path: path}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("removed: %v", err)
	}
}

func TestAFileIsPlainIfItsHeaderIsCompleteAndConsistent(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/six.wav")
	if err != nil {
		t.Fatal(err)
	}
	plain := func(data []byte) bool {
		path := filepath.Join(t.TempDir(), "recording")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		is, err := IsPlain(path)
		if err != nil {
			t.Fatal(err)
		}
		return is
	}
	if !plain(data) {
		t.Error("the whole file is not plain")
	}
	header := bytes.Index(data, []byte("data")) + 8
	for at := range header + 1 {
		if plain(data[:at]) {
			t.Errorf("the first %d bytes are plain", at)
		}
	}
	format := bytes.Index(data, []byte("fmt ")) + 8
	for name, change := range map[string]func(data []byte){
		"a short format":                      func(data []byte) { data[format-4] = 14 },
		"bits that differ":                    func(data []byte) { data[format+18]++ },
		"a block that differs":                func(data []byte) { data[format+12]++ },
		"an unknown codec":                    func(data []byte) { data[format+24] = 0x55 },
		"samples that are not whole frames":   func(data []byte) { data[header-4]-- },
		"samples that exceed the file":        func(data []byte) { data[header-1] = math.MaxInt8 },
		"a chunk that is neither":             func(data []byte) { copy(data[header-8:], "junk") },
		"two formats":                         func(data []byte) { copy(data[header-8:], "fmt ") },
		"a rate that the decoder cannot have": func(data []byte) { data[format+7] = math.MaxInt8 },
	} {
		changed := bytes.Clone(data)
		if change(changed); plain(changed) {
			t.Errorf("%s: plain", name)
		}
	}
}

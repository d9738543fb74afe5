package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sori.internal/infra/analyzer/internal/decode"
	"sori.internal/shared/decoding"
	"sori.internal/shared/testkit"
)

func TestMain(m *testing.M) {
	if ran, code := RunChild(); ran {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// hour is the duration in seconds of the longest recording that the tests accept.
const hour = 3600

func newMeasurer(t *testing.T) *Measurer {
	t.Helper()
	m := New(Settings{
		Processes: 1, Decoder: decode.NewProgram("", ""), DecoderMemory: 256 << 20, MaxSeconds: hour, MaxPitchPoints: 1000,
	})
	t.Cleanup(m.Close)
	return m
}

func recording(t *testing.T, name string) Recording {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "decode", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return Recording{Path: path, Size: info.Size()}
}

// long returns a plain WAV file of almost an hour of silence. The file is sparse and needs no disk space.
func long(t *testing.T) Recording {
	t.Helper()
	head := []byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\x3e\x00\x00\x00\x7d\x00\x00\x02\x00\x10\x00data")
	const size = 3500 * 16000 * 2
	head = append(head, byte(size&0xff), byte(size>>8&0xff), byte(size>>16&0xff), byte(size>>24))
	path := filepath.Join(t.TempDir(), "long.wav")
	if err := os.WriteFile(path, head, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, int64(len(head))+size); err != nil {
		t.Fatal(err)
	}
	return Recording{Path: path, Size: int64(len(head)) + size}
}

func ignore(float64) {}

// measure analyses the test file with the given name, checks that it lasts half a second, and returns the result.
func measure(t *testing.T, m *Measurer, name string) map[string]any {
	t.Helper()
	text, err := m.Measure(t.Context(), recording(t, name), ignore)
	if err != nil {
		t.Fatal(name, err)
	}
	var result map[string]any
	if err := json.Unmarshal(text, &result); err != nil || result["duration"] != 0.5 {
		t.Fatalf("%s: %v %s", name, err, text)
	}
	return result
}

func codeOf(err error) string {
	if e, ok := errors.AsType[*decode.Error](err); ok {
		return e.Code
	}
	return ""
}

func TestOneWorkerAnalysesOneRecordingAfterTheOther(t *testing.T) {
	t.Parallel()
	m := newMeasurer(t)
	for range 2 {
		measure(t, m, "s16.wav")
		measure(t, m, "stereo.flac")
	}
	junk := filepath.Join(t.TempDir(), "junk")
	if err := os.WriteFile(junk, []byte("no recording"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Measure(t.Context(), Recording{Path: junk, Size: 12}, ignore); codeOf(err) != decoding.CodeUnsupportedAudio {
		t.Errorf("junk: %v", err)
	}
	if idle := m.pool.Idle(); len(idle) != 1 || idle[0].served != 5 {
		t.Errorf("%d workers", len(idle))
	}
}

func TestAReferenceIsReadByTheWorker(t *testing.T) {
	t.Parallel()
	m, dir := newMeasurer(t), t.TempDir()
	for name, c := range map[string]struct {
		text    string
		warning string
	}{
		"good": {`[{"hz":220},{"hz":220},{"hz":220},{"hz":220},{"hz":220}]`, ""},
		"bad":  {`secret`, "pitch reference not used: it has no pitch contour in a known form"},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		r := recording(t, "s16.wav")
		r.Reference = path
		text, err := m.Measure(t.Context(), r, ignore)
		if err != nil {
			t.Fatal(err)
		}
		var result struct {
			Similarity *float64 `json:"pitch_similarity"`
			Warnings   []string `json:"warnings"`
		}
		if err := json.Unmarshal(text, &result); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(result.Warnings, ","); got != c.warning || (result.Similarity != nil) != (c.warning == "") {
			t.Errorf("%s: %q, %v", name, got, result.Similarity)
		}
	}
}

// exceed analyses a long recording after change has lowered a limit. It returns the code of the failure. The test fails
// if the worker is still running.
func exceed(t *testing.T, change func(*Measurer, *request)) (m *Measurer, code string) {
	t.Helper()
	m = newMeasurer(t)
	req, err := m.request(t.Context(), long(t))
	if err != nil {
		t.Fatal(err)
	}
	change(m, &req)
	p, err := m.pool.Take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, fit, err := m.exchange(t.Context(), p, req, ignore)
	if m.pool.Give(p, fit); fit || p.Alive() {
		t.Error("the worker is still there")
	}
	t.Log(err)
	return m, codeOf(err)
}

func TestAWorkerThatExceedsALimitEndsAndOnlyItsRecordingFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*Measurer, *request)
		code   string
	}{
		"memory":         {func(_ *Measurer, r *request) { r.Memory = 1 << 20 }, decoding.CodeCrashed},
		"processor time": {func(_ *Measurer, r *request) { r.CPUSeconds = 0.1 }, decoding.CodeLimit},
		"total time":     {func(m *Measurer, _ *request) { m.slack = 0.0001 }, decoding.CodeLimit},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, code := exceed(t, c.change)
			if code != c.code {
				t.Errorf("code %q, want %q", code, c.code)
			}
			m.slack = usualSlack
			measure(t, m, "s16.wav")
		})
	}
}

// start begins a long analysis, and returns the worker once it has begun. The channel end receives the error of the
// analysis.
func start(ctx context.Context, t *testing.T, m *Measurer, r Recording) (p *process, end <-chan error) {
	t.Helper()
	req, err := m.request(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	if p, err = m.pool.Take(ctx); err != nil {
		t.Fatal(err)
	}
	ended, begun := make(chan error, 1), make(chan struct{}, 10)
	go func() {
		_, fit, err := m.exchange(ctx, p, req, func(float64) { begun <- struct{}{} })
		m.pool.Give(p, fit)
		ended <- err
	}()
	<-begun
	return p, ended
}

func TestACrashFailsOneRecordingAndTheNextGetsANewWorker(t *testing.T) {
	t.Parallel()
	m := newMeasurer(t)
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSEGV, syscall.SIGABRT} {
		p, end := start(t.Context(), t, m, long(t))
		if err := syscall.Kill(p.PID(), signal); err != nil {
			t.Fatal(err)
		}
		if err := <-end; codeOf(err) != decoding.CodeCrashed {
			t.Errorf("%v: %v", signal, err)
		}
		measure(t, m, "s16.wav")
	}
}

// damagedLong returns the recording of long(t) with a damaged header, so that it is not a plain WAV file and needs a
// decoder process.
func damagedLong(t *testing.T) Recording {
	t.Helper()
	r := long(t)
	file, err := os.OpenFile(r.Path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt([]byte{0xff, 0xff, 0xff, 0xff}, 40); err != nil { // a program that writes to a pipe states this size of the data chunk
		t.Fatal(err)
	}
	return r
}

// childrenOf returns the ids of the child processes of a process.
func childrenOf(t *testing.T, pid int) []string {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	var children []string
	for _, path := range tasks {
		text, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		children = append(children, strings.Fields(string(text))...)
	}
	return children
}

func TestACanceledAnalysisEndsWithItsWorkerAndItsDecoder(t *testing.T) {
	t.Parallel()
	m := newMeasurer(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	p, end := start(ctx, t, m, damagedLong(t))
	var decoders []string
	testkit.Eventually(t, func() error {
		if decoders = childrenOf(t, p.PID()); len(decoders) != 1 {
			return fmt.Errorf("%d decoders", len(decoders))
		}
		return nil
	})
	why := errors.New("the job was canceled")
	cancel(why)
	if err := <-end; !errors.Is(err, why) || codeOf(err) != "" {
		t.Errorf("ended with %v", err)
	}
	if p.Alive() {
		t.Error("the worker still runs")
	}
	testkit.Eventually(t, func() error {
		if _, err := os.Stat("/proc/" + decoders[0] + "/exe"); err == nil {
			return errors.New("the decoder still runs")
		}
		return nil
	})
	measure(t, m, "stereo.flac")
}

// A worker may die while it is idle. The next recording must be analysed by a new worker.
func TestAWorkerThatDiedIdleIsReplaced(t *testing.T) {
	t.Parallel()
	m := newMeasurer(t)
	for range 3 {
		measure(t, m, "s16.wav")
		m.pool.Idle()[0].Kill() // the pool notices the death before the next request, or when the request fails
	}
}

func TestAProgramThatIsNoWorkerIsNotTheRecordingsFault(t *testing.T) {
	t.Parallel()
	m := New(Settings{Program: "/bin/true", Processes: 1, Decoder: decode.NewProgram("", ""), MaxSeconds: hour, MaxPitchPoints: 1})
	t.Cleanup(m.Close)
	if _, err := m.Measure(t.Context(), recording(t, "s16.wav"), ignore); err == nil || codeOf(err) != "" {
		t.Errorf("%v", err)
	}
}

func TestAWorkerSeesNoSecrets(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
	m := newMeasurer(t)
	measure(t, m, "s16.wav")
	seen, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", m.pool.Idle()[0].PID()))
	if err != nil || strings.Contains(string(seen), "a-secret") || !strings.Contains(string(seen), roleVariable) {
		t.Errorf("%q, %v", seen, err)
	}
}

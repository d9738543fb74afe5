//go:build tools

// Package tools_test tests Sori with other programs, and compares it with them: a
// browser, ffmpeg, sox, espeak-ng, nginx, PgBouncer, npm and a generated client. .ci/run
// installs them.
package tools_test

import (
	"context"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"sori.internal/infra/internal/harness/harnesstest"
)

// output runs a program that .ci/run installs, and returns its output.
func output(ctx context.Context, t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// measured is a result of the reference analysis server.
type measured struct {
	Duration float64  `json:"duration"`
	Loudness *float64 `json:"loudness_lufs"`
	Pitch    *float64 `json:"pitch_median_hz"`
}

func analysed(t *testing.T, w *harnesstest.Env, file string) *measured {
	t.Helper()
	audio, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	job := w.Upload(t, filepath.Base(file), audio)
	harnesstest.CheckFrames(t, w.Follow(w.Context(), t, job, "en"))
	var r struct {
		Result *measured `json:"result"`
	}
	w.Result(t, job, &r)
	if r.Result == nil {
		t.Fatalf("%s: no result: %+v", file, r)
	}
	return r.Result
}

func TestDurationsAreWhatSoxSays(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{})
	dir := t.TempDir()
	speech := filepath.Join(dir, "speech.wav")
	output(w.Context(), t, "espeak-ng", "-w", speech, "The quick brown fox jumps over the lazy dog. Sori means sound.")
	files := map[string]float64{speech: 0.01} // tolerance in seconds, by file
	for ext, tolerance := range map[string]float64{"wav": 0.01, "flac": 0.01, "ogg": 0.01, "mp3": 0.06} {
		made := filepath.Join(dir, "made."+ext)
		output(w.Context(), t, "sox", speech, "-r", "44100", "-c", "2", made)
		files[made] = tolerance
	}
	for file, tolerance := range files {
		told, err := strconv.ParseFloat(output(w.Context(), t, "soxi", "-D", file), 64)
		if err != nil {
			t.Fatal(err)
		}
		if got := analysed(t, w, file); math.Abs(got.Duration-told) > tolerance {
			t.Errorf("%s: %v s, sox says %v s", filepath.Base(file), got.Duration, told)
		}
	}
}

func TestATonesPitchIsItsFrequency(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{})
	for _, ext := range []string{"wav", "flac", "ogg", "mp3"} {
		file := filepath.Join(t.TempDir(), "tone."+ext)
		output(w.Context(), t, "sox", "-n", "-r", "44100", file, "synth", "3", "sine", "220", "gain", "-6")
		if got := analysed(t, w, file); got.Pitch == nil || math.Abs(*got.Pitch-220) > 1 {
			t.Errorf("%s: %v Hz", ext, got.Pitch)
		}
	}
}

// The signal is the first test signal of EBU Tech 3341: a stereo sine of 1000 Hz at
// -23 dBFS for 20 s, whose loudness must be -23.0 LUFS within 0.1.
func TestTheLoudnessOfTheFirstEBUSignal(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{})
	file := filepath.Join(t.TempDir(), "ebu-1.wav")
	output(w.Context(), t, "sox", "-n", "-r", "48000", "-c", "2", "-b", "24", file, "synth", "20", "sine", "1000", "sine", "1000", "gain", "-23")
	if got := analysed(t, w, file); got.Loudness == nil || math.Abs(*got.Loudness+23) > 0.1 {
		t.Errorf("%v LUFS", *got.Loudness)
	}
}

// Package e2e_test tests all of Sori through its API. These tests inject faults:
//
//   - a process is killed: crash_test.go;
//   - S3, Postgres or NATS is unavailable: the package outage; failures_test.go, in
//     which the deadline of a job passes during the outage; the package cluster, in
//     which servers of a NATS cluster fail;
//   - the analysis server is down or busy: waiting_test.go;
//   - the analysis server does not call back, or repeats and reorders callbacks:
//     analysis_server_test.go; it answers or reports in unusual ways: habits_test.go
//     and dialects_test.go; the number of its analyses is limited, or it is restarted:
//     replicas_test.go;
//   - callbacks are late or forged: callbacks_test.go;
//   - an event cannot be decoded: failures_test.go;
//   - many of these at once: the command chaos.
package e2e_test

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	analyzer "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
)

// measured is a result of the reference analysis server.
type measured struct {
	Duration   float64  `json:"duration"`
	SampleRate int      `json:"sample_rate"`
	Loudness   *float64 `json:"loudness_lufs"`
	Pitch      *float64 `json:"pitch_median_hz"`
}

// result is the answer of the route for a job's result.
type result struct {
	JobID     string    `json:"job_id"`
	TokenID   string    `json:"token_id"`
	Status    string    `json:"status"`
	Progress  int       `json:"progress"`
	Message   string    `json:"message"`
	Result    *measured `json:"result"`
	Error     any       `json:"error"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	Cached    bool      `json:"cached"`
}

func TestARecordingBecomesAResultThroughEveryStage(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Behaviour: analyzer.Behaviour{Delay: analyzer.Duration(2 * time.Second)}})
	job := w.Upload(t, "녹음 1.wav", loadgen.Tone(220, 3*time.Second))
	frames := w.Follow(w.Context(), t, job, "ko")
	harnesstest.CheckFrames(t, frames)
	seen := map[int]string{}
	for _, f := range frames {
		if _, ok := seen[f.Progress]; !ok {
			seen[f.Progress] = f.Message
		}
	}
	if seen[90] != "분석 중... 결과 대기" {
		t.Errorf("at 90 the message is %q; frames %+v", seen[90], frames)
	}
	if seen[100] != "분석 완료" {
		t.Errorf("at 100 the message is %q", seen[100])
	}
	var r result
	w.Result(t, job, &r)
	if r.JobID != job || r.TokenID != "1" || r.Status != "completed" || r.Error != nil || r.Cached || r.UpdatedAt.Before(r.CreatedAt) {
		t.Errorf("result %+v", r)
	}
	if r.Result == nil || math.Abs(r.Result.Duration-3) > 0.01 || r.Result.Pitch == nil || math.Abs(*r.Result.Pitch-220) > 1 {
		t.Errorf("measured %+v", r.Result)
	}
	var told measured
	if err := json.Unmarshal(frames[len(frames)-1].Result, &told); err != nil || told.Duration != r.Result.Duration {
		t.Errorf("the stream's result is %+v, %v", told, err)
	}
}

func TestWhatWasUploadedIsListedAndPlayed(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{})
	audio := loadgen.Tone(220, time.Second)
	job := w.Upload(t, "녹음 1.wav", audio)
	harnesstest.CheckFrames(t, w.Follow(w.Context(), t, job, "ko"))
	get := func(path string) (*http.Response, []byte) {
		resp, err := w.Client.Get(w.Gateway + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %v %s", path, resp.Status, err, body)
		}
		return resp, body
	}
	var list struct {
		Jobs []struct {
			JobID    string  `json:"job_id"`
			FileName string  `json:"file_name"`
			Size     int     `json:"size"`
			Duration float64 `json:"duration"`
			Attempt  int     `json:"attempt"`
		} `json:"jobs"`
	}
	_, text := get("/jobs/?status=completed&token_id=1")
	if err := json.Unmarshal(text, &list); err != nil || len(list.Jobs) != 1 {
		t.Fatalf("%v: %s", err, text)
	}
	if j := list.Jobs[0]; j.JobID != job || j.FileName != "녹음 1.wav" || j.Size != len(audio) || j.Duration != 1 || j.Attempt != 1 {
		t.Errorf("listed as %s", text)
	}
	resp, played := get("/jobs/" + job + "/audio") // the Content-Type must be that of the recording
	if !bytes.Equal(played, audio) || resp.Header.Get("Content-Type") != "audio/wav" {
		t.Errorf("%d of %d bytes, %v", len(played), len(audio), resp.Header)
	}
}

func TestEveryDecodedFormatIsAnalysed(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{})
	for _, name := range []string{
		"pcm16.wav", "adpcm.wav", "mulaw.wav", "large.rf64", "stereo.flac", "tagged.mp3", "plain-mpeg25.mp3", "vorbis.ogg", "opus.ogg",
		"flac.ogg", "opus.webm", "live.webm", "end.m4a", "alac.m4a", "stereo.aac", "pcm16.aiff", "pcm.caf", "narrow.amr",
	} {
		audio, err := os.ReadFile(filepath.Join("..", "..", "shared", "media", "testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		job := w.Upload(t, name, audio)
		harnesstest.CheckFrames(t, w.Follow(w.Context(), t, job, "en"))
		var r result
		w.Result(t, job, &r)
		if r.Result == nil || r.Result.Duration <= 0 || r.Result.SampleRate <= 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestAFailedAnalysisIsAFailureToEverybody(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Behaviour: analyzer.Behaviour{Fail: true, FailReason: "no speech found"}})
	job := w.Upload(t, "a.wav", loadgen.Tone(220, time.Second))
	frames := w.Follow(w.Context(), t, job, "en")
	end := frames[len(frames)-1]
	if end.Status != "failed" || end.Message != "Analysis failed" || end.Progress == 100 || string(end.Result) != "null" {
		t.Errorf("the end is %+v", end)
	}
	var r struct {
		Status string
		Error  struct {
			Code, Detail string
			Retryable    bool
		}
		Result any
	}
	w.ResultIn(t, job, "en", &r)
	if r.Status != "failed" || r.Error.Code != "analysis-failed" || r.Error.Detail != "The analysis failed." || !r.Error.Retryable || r.Result != nil {
		t.Errorf("%+v", r)
	}
}

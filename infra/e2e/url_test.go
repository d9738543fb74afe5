package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/shared/testkit"
)

// analyze requests the analysis of a recording at a URL, which contains a secret.
func analyze(t *testing.T, w *harnesstest.Env, url string) (job string) {
	t.Helper()
	var accepted struct {
		JobID string `json:"job_id"`
	}
	_, err := w.API.Do(w.Context(), client.Request{
		Method: http.MethodPost, Path: fmt.Sprintf("/tokens/%d/analyze", w.Token), Header: map[string]string{"Content-Type": "application/json"},
		Body: strings.NewReader(fmt.Sprintf(`{"audio_url":"%s/in/take%%201.wav?signature=s3cret","headers":{"X-Key":"s3cret"}}`, url)),
		Want: http.StatusAccepted, Into: &accepted,
	})
	if err != nil {
		t.Fatal(err)
	}
	return accepted.JobID
}

// shows waits until a job is in a stage.
func shows(t *testing.T, w *harnesstest.Env, job, stage string) (found map[string]any) {
	t.Helper()
	testkit.Eventually(t, func() error {
		found = nil
		w.ResultIn(t, job, "en", &found)
		if found["stage"] != stage {
			return errors.New("the job is in the stage " + fmt.Sprint(found["stage"]))
		}
		return nil
	})
	return found
}

func TestARecordingAtAURLBecomesAResultAndAFailedFetchIsRetried(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: map[string]string{"FETCH_ALLOWED": "127.0.0.1:*"}})
	audio := loadgen.Tone(220, 3*time.Second)
	var away atomic.Bool
	released := make(chan struct{})
	release := sync.OnceFunc(func() { close(released) })
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if away.Load() {
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if r.Header.Get("X-Key") != "s3cret" || r.URL.Query().Get("signature") != "s3cret" {
			t.Errorf("requested %s with %v", r.URL, r.Header)
		}
		rw.Header().Set("Content-Length", fmt.Sprint(len(audio)))
		_, _ = rw.Write(audio[:len(audio)/2])
		rw.(http.Flusher).Flush() //nolint:forcetypeassert // the writers of net/http implement http.Flusher
		select {
		case <-released:
			_, _ = rw.Write(audio[len(audio)/2:])
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(s.Close)
	t.Cleanup(release)

	job := analyze(t, w, s.URL)
	stream := w.Watch(w.Context(), t, job, "en")
	defer stream.Close()
	if at := shows(t, w, job, "fetching"); at["message"] != "Fetching the recording..." || at["fetch"] == nil {
		t.Errorf("%v", at)
	}
	release()
	frames, err := client.Frames(stream)
	if err != nil {
		t.Fatal(err)
	}
	harnesstest.CheckFrames(t, frames)
	stages := map[string]bool{}
	for _, f := range frames {
		stages[f.Stage] = true
	}
	if !stages["fetching"] || !stages["completed"] || stages["uploading"] {
		t.Errorf("stages %v", stages)
	}
	resp, err := w.Client.Get(w.Gateway + "/jobs/" + job + "/audio")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(body, audio) || resp.Header.Get("Content-Type") != "audio/wav" {
		t.Errorf("the audio is %d bytes of %s, %v", len(body), resp.Header.Get("Content-Type"), err)
	}

	away.Store(true)
	job = analyze(t, w, s.URL)
	frames = w.Follow(w.Context(), t, job, "en")
	end := frames[len(frames)-1]
	if end.Status != client.Failed || end.Error == nil || end.Error.Code != "fetch-failed" || !end.Error.Retryable || end.Error.Detail != "The recording could not be fetched from its URL. 127.0.0.1 answered 503." {
		t.Fatalf("%+v", end)
	}
	away.Store(false)
	if _, err := w.API.Do(w.Context(), client.Request{Method: http.MethodPost, Path: "/jobs/" + job + "/retry", Want: http.StatusAccepted}); err != nil {
		t.Fatal(err)
	}
	harnesstest.CheckFrames(t, w.Follow(w.Context(), t, job, "en"))
	if strings.Contains(w.Logged(), "s3cret") {
		t.Error("a secret is logged")
	}
}

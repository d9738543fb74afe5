package app_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sori.internal/infra/analyzer/app"
	"sori.internal/shared/testkit"
)

func TestJobIsAnalysedAndCalledBack(t *testing.T) {
	t.Parallel()
	s, sink := start(t, nil), newSink(t)
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	form := sink.form()
	form.Set("s3_pitch_url", sink.URL+"/pitch.json")
	status, header, reply := post(t, s.URL()+"/", form, "Traceparent", trace)
	if status != http.StatusAccepted || reply["status"] != "accepted" || reply["job_id"] == "" || header.Get("Location") == "" {
		t.Fatalf("%d %v", status, reply)
	}
	all := sink.awaitOutcomes(1)
	last := 0.0
	for _, c := range all {
		if c["query"] != "job_id=j&attempt=1&sig=s" || c["traceparent"] != trace {
			t.Errorf("callback %v", c)
		}
		if p, ok := c["progress"].(float64); ok && p < last {
			t.Errorf("progress %v after %v", p, last)
		} else if ok {
			last = p
		}
	}
	if len(all) < 4 {
		t.Errorf("%d callbacks, want progress before the outcome", len(all))
	}
	end := all[len(all)-1]
	results := end["analysis_results"].(map[string]any)
	if end["status"] != "completed" || math.Abs(results["duration"].(float64)-2.2) > 0.001 || results["format"] != "flac" {
		t.Errorf("outcome %v", end)
	}
	if v, ok := results["pitch_similarity"].(float64); !ok || v <= 0 || v > 100 {
		t.Errorf("similarity %v", results["pitch_similarity"])
	}
	for _, id := range []string{reply["job_id"].(string), "j"} {
		status, _, got := send(t, http.MethodGet, s.URL()+"/status/"+id, "", "")
		if status != http.StatusOK || got["status"] != "completed" || got["progress"] != 100.0 || got["analysis_results"] == nil {
			t.Errorf("status of %s: %d %v", id, status, got["status"])
		}
	}
}

func TestJSONAndMultipartAreRead(t *testing.T) {
	t.Parallel()
	s, sink := start(t, behave(app.Behaviour{Instant: true})), newSink(t)
	body := `{"s3_audio_url":"s3://bucket/key.wav","video_id":7,"webhook_url":"` + sink.URL + `/hook","s3_pitch_url":null}`
	if status, _, reply := send(t, http.MethodPost, s.URL()+"/analyze/", "application/json; charset=utf-8", body); status != http.StatusAccepted {
		t.Errorf("json: %d %v", status, reply)
	}
	part := func(name, value string) string {
		return "--x\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n"
	}
	form := part("s3_audio_url", "https://h/a") + part("webhook_url", sink.URL+"/hook") + "--x--\r\n"
	if status, _, reply := send(t, http.MethodPost, s.URL()+"/analyze", "multipart/form-data; boundary=x", form); status != http.StatusAccepted {
		t.Errorf("multipart: %d %v", status, reply)
	}
	sink.awaitOutcomes(2)
}

func TestBadRequestsSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	const ok = "&webhook_url=http://h/w"
	for _, c := range []struct {
		media, body string
		status      int
		code        string
	}{
		{"application/x-www-form-urlencoded", "", 422, "validation-failed"},
		{"application/x-www-form-urlencoded", "s3_audio_url=file:///etc/passwd" + ok, 422, "validation-failed"},
		{"application/x-www-form-urlencoded", "s3_audio_url=http://h/a&webhook_url=s3://b/k", 422, "validation-failed"},
		{"application/x-www-form-urlencoded", "s3_audio_url=http://h/a&s3_pitch_url=x" + ok, 422, "validation-failed"},
		{"application/x-www-form-urlencoded", "s3_audio_url=http://h/a&job_id=" + strings.Repeat("x", 9000) + ok, 422, "validation-failed"},
		{"application/x-www-form-urlencoded", "%zz", 400, "malformed-body"},
		{"application/x-www-form-urlencoded", "a=" + strings.Repeat("x", 70000), 413, "too-large"},
		{"application/json", "{", 400, "malformed-body"},
		{"application/json", "[1]", 400, "malformed-body"},
		{"application/json", `{"s3_audio_url":["x"]}`, 422, "validation-failed"},
		{"multipart/form-data", "", 400, "malformed-body"},
		{"text/plain", "x", 415, "unsupported-media-type"},
		{"", "x", 415, "unsupported-media-type"},
	} {
		status, header, reply := send(t, http.MethodPost, s.URL()+"/", c.media, c.body)
		problem := strings.HasPrefix(header.Get("Content-Type"), "application/problem+json")
		if status != c.status || reply["code"] != c.code || reply["detail"] == "" || reply["error"] != reply["detail"] || !problem {
			t.Errorf("%s %.60q: %d %v", c.media, c.body, status, reply)
		}
	}
	for _, path := range []string{"/status/unknown", "/nothing", "/behaviour"} {
		if status, _, _ := send(t, http.MethodGet, s.URL()+path, "", ""); status != http.StatusNotFound {
			t.Errorf("%s: %d", path, status)
		}
	}
	for _, path := range []string{"/livez", "/readyz", "/readyz/", "/"} {
		if status, _, _ := send(t, http.MethodGet, s.URL()+path, "", ""); status != http.StatusOK {
			t.Errorf("%s: %d", path, status)
		}
	}
}

func TestSameKeySameAnswerAndOneAnalysis(t *testing.T) {
	t.Parallel()
	s, sink := start(t, nil), newSink(t)
	var group sync.WaitGroup
	ids := make([]any, 8)
	for i := range ids {
		group.Go(func() {
			_, _, reply := post(t, s.URL(), sink.form(), "Idempotency-Key", "j.1")
			ids[i] = reply["job_id"]
		})
	}
	group.Wait()
	sink.awaitOutcomes(1)
	_, header, reply := post(t, s.URL(), sink.form(), "Idempotency-Key", "j.1")
	if header.Get("Idempotency-Replayed") != "true" {
		t.Error("a replay does not say so")
	}
	for _, id := range slices.Concat(ids, []any{reply["job_id"]}) {
		if id != ids[0] {
			t.Errorf("answers %v", ids)
		}
	}
	if sink.fetches != 1 {
		t.Errorf("%d fetches", sink.fetches)
	}
}

func TestWhatCannotBeAnalysedFails(t *testing.T) {
	t.Parallel()
	s, sink := start(t, func(c *app.Config) { c.MaxAudioBytes = 1000 }), newSink(t)
	for path, want := range map[string]string{"/junk": "unsupported-audio", "/missing": "audio-unreachable", "/speech.flac": "audio-too-large"} {
		form := sink.form()
		form.Set("s3_audio_url", sink.URL+path+"?X-Amz-Signature=secret")
		form.Set("job_id", path)
		post(t, s.URL(), form)
		all := sink.awaitOutcomes(1)
		end := all[len(all)-1]
		text, _ := end["error"].(string)
		if end["status"] != "failed" || end["code"] != want || end["retryable"] != (path == "/missing") {
			t.Errorf("%s: %v", path, end)
		}
		if !strings.HasPrefix(text, "The ") || !strings.HasSuffix(text, ".") || strings.Contains(text, "secret") || strings.Contains(text, "://") {
			t.Errorf("%s: %q is no sentence for a person", path, text)
		}
		if _, _, got := send(t, http.MethodGet, s.URL()+"/status/"+url.PathEscape(path), "", ""); got["code"] != want || got["error"] != text {
			t.Errorf("%s: status tells %v", path, got)
		}
	}
}

// The analyzer fetches URLs that callers choose, even in its own network. The warning about a reference must not show
// what the other server answered.
func TestAResultDoesNotShowHowAReferenceWasRefused(t *testing.T) {
	t.Parallel()
	s, sink := start(t, nil), newSink(t)
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "SSH-2.0-OpenSSH", http.StatusTeapot)
	}))
	t.Cleanup(refusing.Close)
	want := "pitch reference not used: it could not be fetched"
	for _, reference := range []string{refusing.URL, "http://127.0.0.1:1/closed", sink.URL + "/none"} {
		form := sink.form()
		form.Set("s3_pitch_url", reference)
		post(t, s.URL()+"/analyze", form)
		all := sink.awaitOutcomes(1)
		results, _ := all[len(all)-1]["analysis_results"].(map[string]any)
		if warnings, _ := results["warnings"].([]any); len(warnings) != 1 || warnings[0] != want {
			t.Errorf("%s: %v", reference, results["warnings"])
		}
	}
}

func TestWaitingRecordingsUseNoTemporaryStorage(t *testing.T) {
	t.Parallel()
	const places, jobs = 3, 12
	k, folder := newSink(t), t.TempDir()
	most := make(chan int, jobs) // number of files in folder during each fetch, including the file of that fetch
	audio := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		files, err := os.ReadDir(folder)
		if err != nil {
			t.Error(err)
		}
		most <- len(files)
		http.ServeFile(w, r, "../internal/analysis/testdata/speech.flac")
	}))
	t.Cleanup(audio.Close)
	s := start(t, func(c *app.Config) { c.FetchConcurrency, c.Concurrency, c.TempDir = places, 1, folder })
	form := k.form()
	form.Set("s3_audio_url", audio.URL)
	for i := range jobs {
		form.Set("job_id", fmt.Sprint(i))
		if status, _, answer := post(t, s.URL()+"/analyze", form); status != http.StatusAccepted {
			t.Fatalf("%d %v", status, answer)
		}
	}
	k.awaitOutcomes(jobs)
	close(most)
	for n := range most {
		if n > places {
			t.Errorf("%d recordings in temporary storage, where %d are allowed", n, places)
		}
	}
}

func TestDELETEOnTheStatusEndsAnAnalysis(t *testing.T) {
	t.Parallel()
	sink := newSink(t)
	server := start(t, behave(app.Behaviour{Delay: app.Duration(time.Hour), NoProgress: true}))
	_, _, accepted := post(t, server.URL()+"/analyze", sink.form())
	status := server.URL() + "/status/" + accepted["job_id"].(string)
	if code, _, _ := send(t, http.MethodDelete, status, "", ""); code != http.StatusNoContent {
		t.Errorf("%d", code)
	}
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		if code, _, fields := send(t, method, status, "", ""); code != http.StatusNotFound || fields["code"] != "job-not-found" {
			t.Errorf("%s afterwards: %d %v", method, code, fields)
		}
	}
	if code, _, again := post(t, server.URL()+"/analyze", sink.form()); code != http.StatusAccepted || again["job_id"] == accepted["job_id"] {
		t.Errorf("requested again: %d %v", code, again)
	}
}

func TestBusyReceiversGetTheOutcomeLater(t *testing.T) {
	t.Parallel()
	s, sink := start(t, behave(app.Behaviour{Instant: true})), newSink(t)
	sink.refuse = []int{503, 429, 500}
	post(t, s.URL(), sink.form())
	if end := sink.awaitOutcomes(1)[0]; end["status"] != "completed" {
		t.Errorf("outcome %v", end)
	}
}

func TestQueueFullIsBusy(t *testing.T) {
	t.Parallel()
	s, sink := start(t, func(c *app.Config) {
		c.QueueSize, c.QueueRetryAfter, c.ShutdownTimeout = 1, 1500*time.Millisecond, time.Millisecond
		c.Behaviour = app.Behaviour{Instant: true, Delay: app.Duration(time.Hour)}
	}), newSink(t)
	post(t, s.URL(), sink.form())
	status, header, reply := post(t, s.URL(), sink.form())
	if status != http.StatusServiceUnavailable || header.Get("Retry-After") != "2" || reply["code"] != "busy" {
		t.Errorf("%d %v %v", status, header, reply)
	}
}

func TestRunReadsItsEnvironmentAndLogsWithoutSecrets(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	env := map[string]string{"HTTP_ADDR": "127.0.0.1:0", "AWS_SECRET_ACCESS_KEY": "hidden"}
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	if err := app.Run(ctx, lookup, &log); err != nil || !strings.Contains(log.String(), "analyzer ready") || strings.Contains(log.String(), "hidden") {
		t.Errorf("%v, log %s", err, log.String())
	}
	for name, value := range map[string]string{"QUEUE_SIZE": "0", "FETCH_TIMEOUT": "x", "BEHAVIOUR_REJECT_STATUS": "7", "LOG_LEVEL": "loud"} {
		lookup := func(n string) (string, bool) { return value, n == name }
		if err := app.Run(ctx, lookup, &log); err == nil {
			t.Errorf("%s=%s was accepted", name, value)
		}
	}
}

func TestItIsNotReadyWhereTemporaryFilesCannotBeWritten(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "later")
	s, sink := start(t, func(c *app.Config) { c.TempDir = dir }), newSink(t)
	ready := func() (int, map[string]any) {
		status, _, reply := send(t, http.MethodGet, s.URL()+"/readyz", "", "")
		return status, reply
	}
	if status, reply := ready(); status != http.StatusServiceUnavailable || reply["detail"] != "temporary files cannot be written" {
		t.Errorf("without a folder: %d %v", status, reply)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if status, reply := ready(); status != http.StatusOK {
		t.Errorf("with a folder: %d %v", status, reply)
	}
	post(t, s.URL()+"/", sink.form())
	all := sink.awaitOutcomes(1)
	if end := all[len(all)-1]; end["status"] != "completed" {
		t.Errorf("outcome %v", end)
	}
	testkit.Eventually(t, func() error { // the fetched file must be removed when the analysis has ended
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			return fmt.Errorf("%d files are left, %w", len(left), err)
		}
		return nil
	})
}

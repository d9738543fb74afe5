package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
)

// request sends a request to the gateway of an environment and decodes the answer.
func request(t *testing.T, w *harnesstest.Env, method, path string, body, into any) {
	t.Helper()
	r := client.Request{Method: method, Path: path, Want: http.StatusOK, Into: into}
	if body != nil {
		var err error
		if r, err = client.JSON(r, body); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.API.Do(w.Context(), r); err != nil {
		t.Fatal(err)
	}
}

func TestARecordingSentToS3InPartsIsAnalysed(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{})
	recording := bytes.Repeat(loadgen.Tone(220, time.Second), 180) // larger than one part
	const size = 5 << 20
	sum := sha256.Sum256(recording)
	var begun struct {
		Key, UploadID string
		JobID         string `json:"job_id"`
	}
	request(t, w, http.MethodPost, "/s3/multipart", map[string]any{
		"filename": "수업 녹음.wav", "type": "audio/wav", "metadata": map[string]any{"token_id": fmt.Sprint(w.Token), "sha256": hex.EncodeToString(sum[:])},
	}, &begun)
	at, key := "/s3/multipart/"+url.PathEscape(begun.UploadID), "?key="+url.QueryEscape(begun.Key)
	var parts []map[string]any
	for n, rest := 1, recording; len(rest) > 0; n++ {
		part := rest[:min(size, len(rest))]
		rest = rest[len(part):]
		var signed struct{ URL string }
		request(t, w, http.MethodGet, fmt.Sprintf("%s/%d%s", at, n, key), nil, &signed)
		parts = append(parts, map[string]any{"PartNumber": n, "ETag": put(t, signed.URL, part)})
	}
	var done struct {
		JobID string `json:"job_id"`
	}
	request(t, w, http.MethodPost, at+"/complete"+key, map[string]any{"parts": parts}, &done)
	frames := w.Follow(w.Context(), t, done.JobID, "en")
	harnesstest.CheckFrames(t, frames)
	if end := frames[len(frames)-1]; done.JobID != begun.JobID || end.Status != "completed" {
		t.Errorf("job %s, begun as %s, ended as %+v", done.JobID, begun.JobID, end)
	}
	resp, err := http.Get(w.Gateway + "/jobs/" + done.JobID + "/audio")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if stored, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(stored, recording) {
		t.Errorf("the stored recording has %d bytes, not %d: %v", len(stored), len(recording), err)
	}
}

// put sends a part to S3 and returns its ETag.
func put(t *testing.T, link string, part []byte) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, link, bytes.NewReader(part))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("S3 answers %s", resp.Status)
	}
	return resp.Header.Get("ETag")
}

func TestLimitsAreToldAndARefusalNamesTheWayThatWorks(t *testing.T) {
	t.Parallel()
	audio := loadgen.Tone(220, time.Second)
	w := harnesstest.Start(t, harnesstest.Options{Settings: map[string]string{
		"MAX_UPLOAD_BYTES": fmt.Sprint(len(audio) - 1), "MAX_DIRECT_UPLOAD_BYTES": fmt.Sprint(len(audio)), "RESULT_RETENTION": "24h", "PRINCIPAL_STAGED_BYTES": "0",
	}})
	var limits struct {
		Uploads []struct {
			Way      string
			MaxBytes int `json:"max_bytes"`
		}
		Retention struct {
			Audio  *float64 `json:"audio_seconds"`
			Result *float64 `json:"result_seconds"`
		}
	}
	request(t, w, http.MethodGet, "/limits", nil, &limits)
	if len(limits.Uploads) != 5 || limits.Uploads[0].MaxBytes != len(audio)-1 || limits.Uploads[2].MaxBytes != len(audio) ||
		limits.Retention.Audio != nil || limits.Retention.Result == nil || *limits.Retention.Result != 86400 {
		t.Errorf("the limits are %+v", limits)
	}
	_, err := w.API.Upload(w.Context(), w.Token, loadgen.RecordingOf("a.wav", audio).Form())
	p, ok := errors.AsType[*client.Problem](err)
	if !ok {
		t.Fatalf("the upload ended with %v", err)
	}
	var problem struct {
		Detail, Way string
		Max         int `json:"way_max_bytes"`
	}
	if err := json.Unmarshal(p.Body, &problem); err != nil || p.Status != http.StatusRequestEntityTooLarge || problem.Way != "s3-multipart" || problem.Max != len(audio) || !strings.Contains(problem.Detail, "/s3/multipart") {
		t.Errorf("refused with %s, %v", p.Body, err)
	}
}

package app_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"testing"
	"time"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
	"sori.internal/shared/uploadrequest"
)

// formOf is the decoded answer to a request for a form.
type formOf struct {
	Method, URL string
	Fields      map[string]string
	Expires     int    // seconds
	JobID       string `json:"job_id"`
}

// sendForm sends a file to S3 with a form, as a browser does.
func (c caller) sendForm(f formOf, file []byte) int {
	c.env.t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for name, value := range f.Fields {
		must(c.env.t, w.WriteField(name, value))
	}
	part, err := w.CreateFormFile("file", "a.wav")
	must(c.env.t, err)
	_, err = part.Write(file)
	must(c.env.t, err)
	must(c.env.t, w.Close())
	req, err := http.NewRequestWithContext(c.env.Context(), f.Method, f.URL, &body)
	must(c.env.t, err)
	req.Header.Set("Content-Type", w.FormDataContentType())
	resp, err := http.DefaultClient.Do(req)
	must(c.env.t, err)
	defer resp.Body.Close()
	answer, _ := io.ReadAll(resp.Body)
	if resp.StatusCode >= 300 {
		c.env.t.Logf("form: %s %s", resp.Status, answer)
	}
	return resp.StatusCode
}

func (c caller) form() formOf {
	c.env.t.Helper()
	var f formOf
	if status, code := c.call("GET", "/s3/params", nil, &f, described(c.env.t, uploadrequest.Description{TokenID: 7, FileName: "긴 녹음.wav"})); status != http.StatusOK {
		c.env.t.Fatalf("form: %d %s", status, code)
	}
	return f
}

// checkExpiry checks that the signed policy of a form expires after an hour, as the answer says.
func checkExpiry(t *testing.T, f formOf) {
	t.Helper()
	text, err := base64.StdEncoding.DecodeString(f.Fields["policy"])
	must(t, err)
	var policy struct{ Expiration time.Time }
	must(t, json.Unmarshal(text, &policy))
	if valid := time.Until(policy.Expiration); f.Expires != 3600 || valid > time.Hour || valid < 50*time.Minute {
		t.Errorf("S3 takes the form for %v, and the answer says %d s", valid, f.Expires)
	}
}

func TestAFormThatIsSentAgainAfterItsJobWasErasedLeavesNothing(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(map[string]string{"MAX_UNFINISHED_UPLOADS": "2"}, "mina")[0]
	erased, kept := mina.form(), mina.form()
	for _, f := range []formOf{erased, kept} {
		mina.sendForm(f, wav(1000))
	}
	stored := testkit.Await[event.Stored](env.Kit, env.bus, kept.JobID)
	testkit.Await[event.Stored](env.Kit, env.bus, erased.JobID)
	mina.form() // succeeds although MAX_UNFINISHED_UPLOADS forms were used: they have become jobs
	env.append(event.Erased{JobID: erased.JobID})
	env.Settled(erasures)
	for _, f := range []formOf{erased, kept} {
		if status := mina.sendForm(f, wav(2000)); status != http.StatusCreated {
			t.Fatalf("S3 answers %d", status)
		}
	}
	sweep(env, time.Now().Add(25*time.Hour))
	env.checkKeys(stored.Key)
	if left := env.Messages(event.Uploads()); len(left) > 0 {
		t.Errorf("left of uploads: %s", left[0].Data)
	}
}

func TestAFormBecomesAJobWhenItsFileArrives(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(map[string]string{"MAX_DIRECT_UPLOAD_BYTES": "6000000"}, "mina")[0]
	f, large, text, never := mina.form(), mina.form(), mina.form(), mina.form()
	checkExpiry(t, f)
	recording := wav(1 << 20)
	if status := mina.sendForm(f, recording); status != http.StatusCreated {
		t.Fatalf("S3 answers %d", status)
	}
	if status := mina.sendForm(large, wav(6_000_001)); status < 400 || status >= 500 {
		t.Errorf("S3 answers a file that is too large with %d", status)
	}
	if status := mina.sendForm(text, []byte("no sound")); status != http.StatusCreated {
		t.Fatalf("S3 answers %d", status)
	}
	if stored := testkit.Await[event.Stored](env.Kit, env.bus, f.JobID); stored.SHA256 != sumOf(recording) || stored.Size != 1<<20 {
		t.Errorf("stored is %+v", stored)
	}
	if failed := testkit.Await[event.Failed](env.Kit, env.bus, text.JobID); failed.Code != "unsupported-audio" {
		t.Errorf("failed with %+v", failed)
	}
	for _, job := range []string{large.JobID, never.JobID} {
		if names := env.EventNames(env.bus, job); len(names) > 0 {
			t.Errorf("a form without a file has the job %v", names)
		}
	}
}

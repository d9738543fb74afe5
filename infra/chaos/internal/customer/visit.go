package customer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strconv"
	"time"

	"sori.internal/infra/internal/sse"
	"sori.internal/infra/internal/tone"
)

// visit is one customer's dealings over one job.
type visit struct {
	crowd *Crowd
	next  int // the gateway to ask
	job   string
	last  frame // the newest that was seen
	seen  int64 // its version; -1 before the first
}

// frame is what a job is shown as, over a stream and otherwise alike.
type frame struct {
	JobID    string `json:"job_id"`
	Status   string `json:"status"`
	Progress int    `json:"progress"`
}

// The statuses that a customer knows.
const (
	processing = "processing"
	failed     = "failed"
	erased     = "erased" // which no answer says: it is the end of all answers
)

// form is an upload's body.
type form struct {
	body        []byte
	contentType string
}

func newForm(length time.Duration) form {
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	part, _ := w.CreateFormFile("file", "tone.wav") // a buffer takes everything
	_, _ = part.Write(tone.WAV(220, length))
	_ = w.Close()

	return form{body.Bytes(), w.FormDataContentType()}
}

// errCut ends an upload in the middle.
var errCut = errors.New("the client is gone")

// reader gives the body, or the first half of it and a failure.
func (f form) reader(cut bool) io.Reader {
	if !cut {
		return bytes.NewReader(f.body)
	}

	return io.MultiReader(bytes.NewReader(f.body[:len(f.body)/2]), broken{})
}

// broken is a body whose connection breaks.
type broken struct{}

// Read implements io.Reader.
func (broken) Read([]byte) (int, error) { return 0, errCut }

// gateway is the next one to ask.
func (v *visit) gateway() string {
	url := v.crowd.opt.Gateways[v.next%len(v.crowd.opt.Gateways)]
	v.next++

	return url
}

// answer is what a gateway says.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do asks once. That nobody answers is an error, and no fault of anybody's.
func (v *visit) do(client *http.Client, req *http.Request) (answer, error) {
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)

	return answer{resp.StatusCode, resp.Header, body}, err
}

// putOff reports whether an answer says properly that the same may be tried again.
func (a answer) putOff() bool {
	switch a.status {
	case http.StatusServiceUnavailable:
		return a.header.Get("Retry-After") != ""
	case http.StatusRequestTimeout: // of a body that stood still with its gateway
		return true
	default:
		return false
	}
}

// code is that of a problem.
func (a answer) code() string {
	var problem struct {
		Code string `json:"code"`
	}
	_ = json.Unmarshal(a.body, &problem) // no problem has none

	return problem.Code
}

// upload tries until the recording is accepted, always under the same key, and reports whether it was.
func (v *visit) upload(ctx context.Context, i int, large bool) bool {
	f := v.crowd.small
	if large {
		f = v.crowd.large
	}
	key := fmt.Sprintf("customer-%d-%d", v.crowd.opt.Seed, i)
	for ctx.Err() == nil {
		a, err := v.tryUpload(ctx, f, key)
		var accepted frame
		switch {
		case err != nil:
		case a.status == http.StatusAccepted && json.Unmarshal(a.body, &accepted) == nil && accepted.JobID != "":
			v.job, v.seen = accepted.JobID, -1
			v.crowd.ledger.accept(v.job)

			return true
		case a.status == http.StatusConflict && a.code() == "idempotency-key-in-use": // by a try that was given up here
		case !a.putOff():
			v.crowd.ledger.wrong(Answers, "an upload is answered with %d: %s", a.status, a.body)
			return false
		}
		pause(ctx, comeBack)
	}

	return false
}

func (v *visit) tryUpload(ctx context.Context, f form, key string) (answer, error) {
	url := v.gateway() + "/tokens/" + strconv.FormatInt(v.crowd.opt.Token, 10) + "/upload-audio"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, f.reader(v.crowd.cutsBodies()))
	if err != nil {
		return answer{}, err
	}
	req.ContentLength = int64(len(f.body))
	req.Header.Set("Content-Type", f.contentType)
	req.Header.Set("Idempotency-Key", `"`+key+`"`)

	return v.do(v.crowd.uploads, req)
}

// act asks to cancel or to retry the job until it is answered, and reports whether it was. That it makes no sense any more is
// an answer.
func (v *visit) act(ctx context.Context, action string) bool {
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, v.gateway()+"/jobs/"+v.job+"/"+action, http.NoBody)
		if err != nil {
			return false
		}
		a, err := v.do(v.crowd.uploads, req)
		switch {
		case err != nil:
		case a.status == http.StatusAccepted:
			v.crowd.ledger.count(Event(action))
			return true
		case (a.status == http.StatusConflict || a.status == http.StatusGone) && a.code() != "":
			return true
		case !a.putOff():
			v.crowd.ledger.wrong(Answers, "%s of job %s is answered with %d: %s", action, v.job, a.status, a.body)
			return false
		}
		pause(ctx, comeBack)
	}

	return false
}

// erase asks to have nothing kept of the job, until it is answered.
func (v *visit) erase(ctx context.Context) {
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodDelete, v.gateway()+"/jobs/"+v.job, http.NoBody)
		if err != nil {
			return
		}
		a, err := v.do(v.crowd.uploads, req)
		switch {
		case err != nil:
		case a.status == http.StatusOK, a.status == http.StatusGone: // by a try that was not answered
			v.crowd.ledger.end(v.job, erased)
			v.crowd.ledger.count(Erased)
			return
		case !a.putOff():
			v.crowd.ledger.wrong(Answers, "the erasure of job %s is answered with %d: %s", v.job, a.status, a.body)
			return
		}
		pause(ctx, comeBack)
	}
}

// await sees the job to an end, and reports whether it saw one.
func (v *visit) await(ctx context.Context, watch bool) bool {
	look := v.poll
	if watch {
		look = v.follow
	}
	v.last.Status = processing
	for ctx.Err() == nil {
		if err := look(ctx); err != nil {
			v.crowd.ledger.wrong(Answers, "job %s: %v", v.job, err)
			return false
		}
		if v.last.Status != processing {
			v.crowd.ledger.end(v.job, v.last.Status)
			return true
		}
		pause(ctx, comeBack)
	}

	return false
}

// poll asks how the job is, and has the answer held until that is news.
func (v *visit) poll(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.gateway()+"/tokens/analysis-result/"+v.job+"?wait=5", nil)
	if err != nil {
		return err
	}
	a, err := v.do(v.crowd.uploads, req)
	if err != nil || a.putOff() {
		return nil //nolint:nilerr // it comes back
	}
	if a.status != http.StatusOK {
		return fmt.Errorf("status %d: %s", a.status, a.body)
	}
	var version int64
	if _, err := fmt.Sscanf(a.header.Get("ETag"), `"%d-`, &version); err != nil {
		return fmt.Errorf("ETag %q: %w", a.header.Get("ETag"), err)
	}

	return v.see(version, a.body)
}

// follow reads a stream to its end as an EventSource does. That the service is away for now is no error, and neither is a
// stream that ends early.
func (v *visit) follow(ctx context.Context) error {
	ctx, done := v.crowd.stream(ctx)
	defer done()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.gateway()+"/tokens/analysis-progress/"+v.job, nil)
	if err != nil {
		return err
	}
	lastID := ""
	if v.seen >= 0 {
		lastID = strconv.FormatInt(v.seen, 10)
		req.Header.Set("Last-Event-ID", lastID)
	}
	resp, err := v.crowd.streams.Do(req)
	if err != nil {
		return nil //nolint:nilerr // it comes back
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNoContent && lastID != "" {
		return nil // the end was seen before; a retry of it is not recorded yet
	}
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		if a := (answer{resp.StatusCode, resp.Header, body}); !a.putOff() {
			return fmt.Errorf("a stream is answered with %d after the id %q: %s", a.status, lastID, a.body)
		}
		return nil
	}
	var wrong error
	_ = sse.Read(resp.Body, lastID, func(e sse.Event) error { // cut or whole: it comes back where the end is missing
		version, err := strconv.ParseInt(e.ID, 10, 64)
		if err == nil {
			err = v.see(version, []byte(e.Data))
		}
		wrong = err
		return err
	})

	return wrong
}

// see takes in a version of the job, which must not be older than the one before.
func (v *visit) see(version int64, body []byte) error {
	var f frame
	if err := json.Unmarshal(body, &f); err != nil {
		return fmt.Errorf("read a frame: %w", err)
	}
	if f.JobID != v.job {
		return fmt.Errorf("it is told of job %s", f.JobID)
	}
	if version < v.seen {
		v.crowd.ledger.wrong(Versions, "job %s went back from version %d to %d", v.job, v.seen, version)
	}
	if f.Progress < v.last.Progress {
		v.crowd.ledger.fell(v.job)
	}
	v.seen, v.last = version, f

	return nil
}

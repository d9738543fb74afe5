package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sori.internal/infra/analyzer/internal/job"
	"sori.internal/infra/analyzer/internal/source"
	"sori.internal/shared/wait"
)

// Names of the fields of a request. Errors are reported in this order.
const (
	fieldAudio    = "s3_audio_url"
	fieldVideo    = "video_id"
	fieldWebhook  = "webhook_url"
	fieldTextGrid = "s3_textgrid_url"
	fieldPitch    = "s3_pitch_url"
	fieldJob      = "job_id"
)

// errMedia means that a body has an unsupported media type.
var errMedia = errors.New("the body must be a form or JSON")

// accepted is the body of the response 202 (Accepted).
type accepted struct {
	ID     string `json:"job_id"`
	Status string `json:"status"`
}

// submit handles a request for an analysis: it accepts the job, or responds as the current Behaviour requires.
func (a *API) submit(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	behaviour := a.Behaviour.Get()
	if d := time.Duration(behaviour.AcceptDelay); d > 0 && wait.For(r.Context(), d) != nil {
		return // the client has closed the connection and gets no response, so the job must not be accepted
	}
	if status, after, ok := a.Behaviour.Reject(); ok {
		retryAfter(w, after)
		problem(w, r, status, "rejected", "refused as the behaviour asks")
		return
	}
	fields, err := readFields(w, r)
	if err != nil {
		refuse(w, r, err)
		return
	}
	if wrong := check(fields); len(wrong) > 0 {
		problem(w, r, http.StatusUnprocessableEntity, "validation-failed", wrong[0].Pointer+": "+wrong[0].Detail, wrong...)
		return
	}
	receipt, err := a.Jobs.Submit(request(r, fields))
	if err != nil {
		retryAfter(w, a.RetryAfter)
		problem(w, r, http.StatusServiceUnavailable, "busy", "no more jobs are taken at the moment")
		a.Log.Warn().Err(err).Str("job_id", fields[fieldJob]).Msg("job refused")
		return
	}
	if behaviour.CallbackFirst {
		select {
		case <-receipt.Delivered():
		case <-r.Context().Done():
			return
		}
	}
	accept(w, receipt)
	a.Log.Info().Str("analysis_id", receipt.ID).Str("job_id", fields[fieldJob]).Str("token_id", fields[fieldVideo]).
		Bool("replayed", receipt.Replayed).Dur("took", time.Since(began)).Msg("job accepted")
}

// request returns the job that an HTTP request with the given fields asks for.
func request(r *http.Request, fields map[string]string) job.Request {
	return job.Request{
		AudioURL: fields[fieldAudio], VideoID: fields[fieldVideo], WebhookURL: fields[fieldWebhook], TextGridURL: fields[fieldTextGrid],
		PitchURL: fields[fieldPitch], CallerID: fields[fieldJob], IdempotencyKey: r.Header.Get("Idempotency-Key"),
		TraceParent: r.Header.Get("Traceparent"), TraceState: r.Header.Get("Tracestate"),
	}
}

// accept responds that a job was accepted, either now or by an earlier request with the same idempotency key.
func accept(w http.ResponseWriter, receipt job.Receipt) {
	if receipt.Replayed {
		w.Header().Set("Idempotency-Replayed", "true")
	}
	w.Header().Set("Location", "/status/"+receipt.ID)
	write(w, http.StatusAccepted, accepted{ID: receipt.ID, Status: "accepted"})
}

// refuse responds to a request whose body could not be read.
func refuse(w http.ResponseWriter, r *http.Request, err error) {
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		problem(w, r, http.StatusRequestEntityTooLarge, "too-large", fmt.Sprintf("the body is larger than %d bytes", large.Limit))
	case errors.Is(err, errMedia):
		problem(w, r, http.StatusUnsupportedMediaType, "unsupported-media-type", errMedia.Error())
	default:
		problem(w, r, http.StatusBadRequest, "malformed-body", "the body cannot be read")
	}
}

// readFields reads a form, or a JSON object whose values are strings or numbers. Other values, such as null, count as
// absent.
func readFields(w http.ResponseWriter, r *http.Request) (map[string]string, error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return nil, errMedia
	}
	switch media {
	case "application/json":
		return readJSON(r)
	case "application/x-www-form-urlencoded":
		err = r.ParseForm()
	case "multipart/form-data":
		err = r.ParseMultipartForm(maxBody)
	default:
		return nil, errMedia
	}
	if err != nil {
		return nil, fmt.Errorf("read form: %w", err)
	}
	fields := map[string]string{}
	for name := range r.PostForm {
		fields[name] = r.PostForm.Get(name)
	}
	return fields, nil
}

func readJSON(r *http.Request) (map[string]string, error) {
	decoder := json.NewDecoder(r.Body)
	decoder.UseNumber()
	var object map[string]any
	if err := decoder.Decode(&object); err != nil {
		return nil, fmt.Errorf("read json: %w", err)
	}
	fields := map[string]string{}
	for name, value := range object {
		switch v := value.(type) {
		case string:
			fields[name] = v
		case json.Number:
			fields[name] = v.String()
		}
	}
	return fields, nil
}

// check returns a description of each invalid field. Unknown fields are ignored.
func check(fields map[string]string) []detail {
	var wrong []detail
	add := func(field, text string) { wrong = append(wrong, detail{Pointer: "/" + field, Detail: text}) }
	for _, name := range []string{fieldAudio, fieldVideo, fieldWebhook, fieldTextGrid, fieldPitch, fieldJob} {
		value := fields[name]
		switch {
		case value == "" && (name == fieldAudio || name == fieldWebhook):
			add(name, "is required")
		case len(value) > maxField:
			add(name, "is too long")
		case value == "":
		case name == fieldWebhook && !isHTTP(value):
			add(name, "must be an http or https URL")
		case strings.HasPrefix(name, "s3_") && source.Check(value) != nil:
			add(name, "must be an http, https or s3 URL")
		}
	}
	return wrong
}

func isHTTP(value string) bool {
	u, err := url.Parse(value)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

package loadgen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"

	"sori.internal/infra/internal/client"
	"sori.internal/shared/wait"
)

// partSize is the size of all parts but the last, in bytes. It is the smallest one that S3 allows.
const partSize = 5 << 20

// sendParts sends the recording to S3 in parts, as Uppy does.
func (s *session) sendParts(ctx context.Context) bool {
	for round := 0; ctx.Err() == nil; round++ {
		u, ok := s.beginParts(ctx)
		if !ok {
			return false
		}
		first := round == 0
		if first && s.upload.quirk == leaves {
			continue
		}
		parts, ok := s.putParts(ctx, u, first && s.upload.quirk == damages)
		if !ok {
			return false
		}
		if s.intrudes {
			s.intrudeParts(ctx, u, parts)
		}
		if first && s.upload.quirk == aborts {
			if !s.abortParts(ctx, u, parts) {
				return false
			}
			continue
		}
		return s.completeParts(ctx, u, parts)
	}
	return false
}

// beginParts begins an upload. If the response is lost, the uploader removes the unfinished upload later.
func (s *session) beginParts(ctx context.Context) (u client.PartsUpload, ok bool) {
	_, _, ok = s.ask(ctx, "begin of an upload in parts", func() client.Request {
		r, _ := client.JSON(client.Request{Method: http.MethodPost, Path: "/s3/multipart", Into: &u}, map[string]any{ // encoding texts cannot fail
			"filename": s.name, "type": "audio/wav", "metadata": map[string]string{"token_id": strconv.FormatInt(s.clients.opt.Token, 10)},
		})
		s.describeFreshness(r.Header)
		return r
	})
	return u, ok
}

// putParts sends the parts in any order. With damage it first sends other bytes as the first part.
func (s *session) putParts(ctx context.Context, u client.PartsUpload, damage bool) ([]client.Part, bool) {
	bodies := slices.Collect(slices.Chunk(s.file, partSize))
	if damage {
		if _, ok := s.putPart(ctx, u, 1, bytes.Repeat([]byte{7}, len(bodies[0]))); !ok {
			return nil, false
		}
	}
	var parts []client.Part
	for _, i := range rand.New(rand.NewPCG(s.upload.seed, 0)).Perm(len(bodies)) { // the same seed gives the same order
		etag, ok := s.putPart(ctx, u, i+1, bodies[i])
		if !ok {
			return nil, false
		}
		parts = append(parts, client.Part{PartNumber: i + 1, ETag: etag})
	}
	if s.upload.quirk == lists {
		return s.listParts(ctx, u, parts)
	}
	return parts, true
}

// putPart sends a part, with a newly signed URL for each attempt, and returns its ETag.
func (s *session) putPart(ctx context.Context, u client.PartsUpload, number int, body []byte) (etag string, ok bool) {
	for ctx.Err() == nil {
		var signed struct{ URL string }
		what := fmt.Sprintf("URL of part %d of job %s", number, u.Job)
		if _, _, ok := s.ask(ctx, what, func() client.Request {
			return client.Request{Path: u.Path(strconv.Itoa(number)), Into: &signed}
		}); !ok {
			return "", false
		}
		header, err := s.clients.s3.Do(ctx, client.Request{Method: http.MethodPut, Path: signed.URL, Body: s.body(body), Length: int64(len(body))})
		if err == nil {
			return header.Get("ETag"), true
		}
		if !s.passes(ctx, what, err) {
			return "", false
		}
	}
	return "", false
}

// listParts returns the parts that S3 has. It records a violation for each part that was sent and is missing.
func (s *session) listParts(ctx context.Context, u client.PartsUpload, sent []client.Part) (found []client.Part, ok bool) {
	_, _, ok = s.ask(ctx, "list of the parts of job "+u.Job, func() client.Request { return client.Request{Path: u.Path(""), Into: &found} })
	for _, p := range sent {
		if ok && !slices.Contains(found, p) {
			s.clients.ledger.violate(Durable, "part %d of job %s is not listed", p.PartNumber, u.Job)
		}
	}
	return found, ok
}

// completeParts completes the upload, and reports whether it has become a job.
func (s *session) completeParts(ctx context.Context, u client.PartsUpload, parts []client.Part) bool {
	complete := func(s *session) bool {
		var done client.PartsUpload
		_, refusal, ok := s.ask(ctx, "completion of job "+u.Job, func() client.Request { return u.Completion(parts, &done) }, http.StatusUnprocessableEntity)
		if ok && refusal == nil && done.Job != u.Job {
			s.clients.ledger.violate(Answers, "the upload of job %s became job %s", u.Job, done.Job)
		}
		if ok && refusal != nil && s.upload.quirk != damages { // the damaged part may arrive after the right one, if the answer to the damaged part was lost
			s.clients.ledger.violate(Answers, "completion of job %s: %v", u.Job, refusal)
			return false
		}
		return ok && refusal == nil
	}
	if s.upload.quirk == doubles {
		other := *s
		other.next++
		var both sync.WaitGroup
		both.Go(func() { complete(&other) })
		defer both.Wait()
	}
	for !complete(s) {
		var ok bool
		if s.upload.quirk != damages || ctx.Err() != nil {
			return false
		}
		if parts, ok = s.putParts(ctx, u, false); !ok {
			return false
		}
	}
	s.accept(u.Job)
	return true
}

// abortParts removes the upload, and checks that the upload cannot be completed after that.
func (s *session) abortParts(ctx context.Context, u client.PartsUpload, parts []client.Part) bool {
	if _, _, ok := s.ask(ctx, "removal of the upload of job "+u.Job, func() client.Request {
		return client.Request{Method: http.MethodDelete, Path: u.Path("")}
	}, http.StatusNotFound); !ok {
		return false
	}
	s.absent(ctx, "completion of the removed upload of job "+u.Job, func() client.Request { return u.Completion(parts, nil) })
	return true
}

// absent records a violation unless a request is answered with 404.
func (s *session) absent(ctx context.Context, what string, request func() client.Request) {
	if _, refusal, ok := s.ask(ctx, what, request, http.StatusNotFound); ok && refusal == nil {
		s.clients.ledger.violate(Answers, "%s is answered", what)
	}
}

// passes handles a failed request to S3. If S3 refused the request, passes records a violation and returns
// false. Otherwise it waits, and returns whether the request may be repeated.
func (s *session) passes(ctx context.Context, what string, err error) bool {
	if p, answered := errors.AsType[*client.Problem](err); answered && p.Status < http.StatusInternalServerError {
		s.clients.ledger.violate(Answers, "%s: %v", what, err)
		return false
	}
	return wait.For(ctx, retryAfter) == nil
}

// sendS3Form sends the recording to S3 in one request. The job begins when the uploader finds the recording at S3.
func (s *session) sendS3Form(ctx context.Context) bool {
	form, ok := s.takeForm(ctx)
	if ok && s.upload.quirk == leaves {
		form, ok = s.takeForm(ctx)
	}
	if !ok {
		return false
	}
	var body bytes.Buffer
	w := multipart.NewWriter(&body) // writing to a buffer cannot fail
	for name, value := range form.Fields {
		_ = w.WriteField(name, value)
	}
	file, _ := w.CreateFormFile("file", s.name)
	_, _ = file.Write(s.file)
	_ = w.Close()
	for {
		_, err := s.clients.s3.Do(ctx, client.Request{
			Method: http.MethodPost, Path: form.URL, Header: map[string]string{"Content-Type": w.FormDataContentType()},
			Body: s.body(body.Bytes()), Length: int64(body.Len()), Want: http.StatusCreated, // the form asks for this status
		})
		if err == nil {
			break
		}
		if !s.passes(ctx, "form of job "+form.Job, err) {
			return false
		}
	}
	s.accept(form.Job)
	return s.awaitBegin(ctx)
}

// s3Form is a form for S3.
type s3Form struct {
	URL    string
	Fields map[string]string
	Job    string `json:"job_id"`
}

func (s *session) takeForm(ctx context.Context) (form s3Form, ok bool) {
	query := url.Values{"filename": {s.name}, "type": {"audio/wav"}, "metadata[token_id]": {strconv.FormatInt(s.clients.opt.Token, 10)}}
	_, _, ok = s.ask(ctx, "form for S3", func() client.Request {
		r := client.Request{Path: "/s3/params?" + query.Encode(), Header: map[string]string{}, Into: &form}
		s.describeFreshness(r.Header)
		return r
	})
	return form, ok
}

// awaitBegin polls until the job exists: the client gets no message when the uploader finds the recording at S3.
func (s *session) awaitBegin(ctx context.Context) bool {
	for ctx.Err() == nil {
		_, absent, ok := s.ask(ctx, "result of job "+s.job, func() client.Request {
			return client.Request{Path: "/tokens/analysis-result/" + s.job}
		}, http.StatusNotFound)
		if !ok || absent == nil {
			return ok
		}
		_ = wait.For(ctx, retryAfter)
	}
	return false
}

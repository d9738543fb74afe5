package scenario

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"sori.internal/infra/bench/internal/target"
	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/shared/wait"
)

// way is a method of uploading that the scenario ways measures.
type way struct {
	name   string
	tusd   bool // the recordings go to tusd
	judged bool // the way must be as fast as tusd
	// send sends the n-th recording, and returns the id of its upload at tusd, or of its job.
	send func(s *sender, ctx context.Context, audio *loadgen.Noise, n uint64) (id string, err error)
}

// allWays lists the ways. The first one is tusd, with which the others are compared.
func allWays() []way {
	return []way{
		{name: "tusd", tusd: true, send: (*sender).toTusd},
		{name: "tus", judged: true, send: (*sender).byTus},
		{name: "draft", judged: true, send: (*sender).byDraft},
		{name: "parts", judged: true, send: (*sender).inParts},
		{name: "form", send: (*sender).asForm}, // the bytes of a form are written twice: to NATS, and then to S3
	}
}

// sender sends recordings. With tus and with the IETF draft, one request contains all bytes of a recording.
type sender struct {
	target *target.Target
	api    *client.Client
	tusd   *client.Client
	s3     *client.Client // client for signed URLs
}

// newSender makes a sender for a number of concurrent uploads.
func newSender(t *target.Target, tusd *target.Tusd, concurrent int) *sender {
	api := t.Client(concurrent)
	return &sender{target: t, api: api, tusd: &client.Client{Base: tusd.URL, HTTP: api.HTTP}, s3: &client.Client{HTTP: api.HTTP}}
}

func (s *sender) close() { s.api.Close() }

// tus sends a recording by tus 1.0. The parameter all is the path to which a POST creates an upload. tus returns the id of
// the upload and the header of the last answer.
func tus(ctx context.Context, c *client.Client, all, metadata string, audio *loadgen.Noise, n uint64) (id string, last http.Header, err error) {
	header := map[string]string{"Tus-Resumable": "1.0.0", "Upload-Length": strconv.FormatInt(audio.Size(), 10), "Upload-Metadata": metadata}
	created, err := c.Do(ctx, client.Request{Method: http.MethodPost, Path: all, Header: header, Body: http.NoBody, Want: http.StatusCreated})
	if err != nil {
		return "", nil, err
	}
	_, id, _ = strings.Cut(created.Get("Location"), all)
	header = map[string]string{"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
	last, err = c.Do(ctx, client.Request{
		Method: http.MethodPatch, Path: all + id, Header: header, Body: audio.Body(n), Length: audio.Size(), Want: http.StatusNoContent,
	})
	return id, last, err
}

func (s *sender) toTusd(ctx context.Context, audio *loadgen.Noise, n uint64) (string, error) {
	id, _, err := tus(ctx, s.tusd, target.TusdUploads, "", audio, n)
	return id, err
}

// uploads is the path of Sori's resumable uploads.
const uploads = "/uploads/"

// jobHeader is the header of an answer with the id of the job that an upload has become.
const jobHeader = "Sori-Job"

func (s *sender) byTus(ctx context.Context, audio *loadgen.Noise, n uint64) (string, error) {
	metadata := "token_id " + base64.StdEncoding.EncodeToString(fmt.Append(nil, s.target.Token))
	_, last, err := tus(ctx, s.api, uploads, metadata, audio, n)
	return last.Get(jobHeader), err
}

func (s *sender) byDraft(ctx context.Context, audio *loadgen.Noise, n uint64) (string, error) {
	header, err := s.api.Do(ctx, client.Request{
		Method: http.MethodPost, Path: uploads + "?token_id=" + strconv.FormatInt(s.target.Token, 10), Want: http.StatusCreated,
		Header: map[string]string{"Upload-Draft-Interop-Version": "6", "Upload-Complete": "?1"}, Body: audio.Body(n), Length: audio.Size(),
	})
	return header.Get(jobHeader), err
}

// inParts sends a recording to S3 in parts, one after the other.
func (s *sender) inParts(ctx context.Context, audio *loadgen.Noise, n uint64) (string, error) {
	begin, err := client.JSON(client.Request{Method: http.MethodPost, Path: "/s3/multipart"}, map[string]any{
		"filename": "bench.wav", "type": "audio/wav", "metadata": map[string]any{"token_id": s.target.Token},
	})
	if err != nil {
		return "", err
	}
	var u client.PartsUpload
	begin.Into = &u
	if _, err := s.api.Do(ctx, begin); err != nil {
		return "", err
	}
	parts, body := []client.Part{}, audio.Body(n)
	for number := 1; int64(number-1)*wayPart < audio.Size(); number++ {
		var signed struct{ URL string }
		if _, err := s.api.Do(ctx, client.Request{Path: u.Path(strconv.Itoa(number)), Into: &signed}); err != nil {
			return "", err
		}
		size := min(wayPart, audio.Size()-int64(number-1)*wayPart)
		put, err := s.s3.Do(ctx, client.Request{Method: http.MethodPut, Path: signed.URL, Body: io.LimitReader(body, size), Length: size})
		if err != nil {
			return "", err
		}
		parts = append(parts, client.Part{PartNumber: number, ETag: put.Get("ETag")})
	}
	_, err = s.api.Do(ctx, u.Completion(parts, nil))
	return u.Job, err
}

func (s *sender) asForm(ctx context.Context, audio *loadgen.Noise, n uint64) (string, error) {
	return s.api.Upload(ctx, s.target.Token, audio.Form(n))
}

// remove removes uploads, and waits until their objects are gone: the disk must have space for the next round.
func (s *sender) remove(ctx context.Context, w way, ids []string) error {
	for _, id := range ids {
		var err error
		if w.tusd {
			_, err = s.tusd.Do(ctx, client.Request{
				Method: http.MethodDelete, Path: target.TusdUploads + id, Header: map[string]string{"Tus-Resumable": "1.0.0"}, Want: http.StatusNoContent,
			})
		} else {
			err = s.api.Erase(ctx, id)
		}
		if err != nil {
			return err
		}
	}
	if w.tusd { // tusd answers a DELETE only after it has deleted the object
		return nil
	}
	for len(ids) > 0 {
		_, found, err := objectOf(ctx, s.target, ids[0])
		if err != nil {
			return err
		}
		if !found {
			ids = ids[1:]
			continue
		}
		if wait.For(ctx, removalInterval) != nil {
			return fmt.Errorf("wait for the removal of job %s: %w", ids[0], context.Cause(ctx))
		}
	}
	return nil
}

// removalInterval is the time between two checks for the object of an erased job.
const removalInterval = 50 * time.Millisecond

// objectOf returns the object of a job, or false if there is none.
func objectOf(ctx context.Context, t *target.Target, job string) (minio.ObjectInfo, bool, error) {
	ctx, cancel := context.WithCancel(ctx) // the cancellation stops the listing after its first object
	defer cancel()
	object, found := <-t.S3.ListObjects(ctx, t.Bucket, minio.ListObjectsOptions{Prefix: "audio/" + job + "_"})
	if object.Err != nil {
		return object, false, fmt.Errorf("look for the object of job %s: %w", job, object.Err)
	}
	return object, found, nil
}

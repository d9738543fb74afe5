// Package api serves the requests that begin, sign, complete and abort direct uploads. The requests
// have the format that Uppy's plugin AwsS3 sends to its server (Companion), so that clients can use
// the plugin unchanged.
package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"sori.internal/services/uploader/internal/direct"
	"sori.internal/shared/fault"
	"sori.internal/shared/httpd"
	"sori.internal/shared/principal"
	"sori.internal/shared/uploadrequest"
)

// Uploads has the operations of direct uploads.
type Uploads interface {
	Begin(ctx context.Context, u direct.Upload) (direct.Upload, error)
	Form(ctx context.Context, u direct.Upload) (direct.Upload, direct.Form, error)
	Parts(ctx context.Context, h direct.Handle) ([]direct.Part, error)
	Sign(ctx context.Context, h direct.Handle, numbers ...int) (map[int]string, error)
	Complete(ctx context.Context, h direct.Handle, parts []direct.Part) (direct.Upload, error)
	Abort(ctx context.Context, h direct.Handle) error
	Options() direct.Options
}

// API serves requests.
type API struct {
	uploads  Uploads
	verifier principal.Verifier
	bucket   string
}

// New makes the API. bucket is the name of the bucket.
func New(u Uploads, v principal.Verifier, bucket string) *API {
	return &API{uploads: u, verifier: v, bucket: bucket}
}

// handler handles the request of a principal who may upload.
type handler func(w http.ResponseWriter, r *http.Request, p principal.Principal) error

// Routes adds the API's routes.
func (a *API) Routes(mux *httpd.Mux) {
	const one = "/s3/multipart/{upload_id}"
	mux.Handle("GET /s3/params", a.write(a.form))
	mux.Handle("POST /s3/multipart", a.write(a.begin))
	mux.Handle("GET "+one, a.write(a.parts))
	mux.Handle("DELETE "+one, a.write(a.abort))
	mux.Handle("POST "+one+"/complete", a.write(a.complete))
	mux.Handle("GET "+one+"/batch", a.write(a.signSeveral))
	mux.Handle("GET "+one+"/{part}", a.write(a.signOne))
}

// write makes a route for principals with the scope to upload. The gateway has signed the
// principal.
func (a *API) write(h handler) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		p, err := httpd.Authorize(w, r, a.verifier, principal.JobsWrite)
		if err != nil {
			return err
		}
		w.Header().Set("Cache-Control", "no-store") // answers contain signed URLs
		return h(w, r.WithContext(principal.With(r.Context(), p)), p)
	}
}

// described returns the upload that the gateway has described in a header of the request.
func described(r *http.Request, p principal.Principal) (direct.Upload, error) {
	d, err := uploadrequest.FromHeader(r.Header)
	if err != nil {
		return direct.Upload{}, fault.MalformedRequest("The request does not describe an upload.", err)
	}
	return direct.Upload{
		Owner: p.Owner, TokenID: d.TokenID, TextGridURL: d.TextGridURL, PitchURL: d.PitchURL, FileName: d.FileName, SHA256: d.SHA256, Fresh: d.Fresh,
	}, nil
}

// formBody is the answer to a request for a form.
type formBody struct {
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Fields  map[string]string `json:"fields"`
	Headers map[string]string `json:"headers"`
	Expires int               `json:"expires"` // seconds
	JobID   string            `json:"job_id"`  // id of the job that begins when S3 has the recording
}

func (a *API) form(w http.ResponseWriter, r *http.Request, p principal.Principal) error {
	u, err := described(r, p)
	if err != nil {
		return err
	}
	u, form, err := a.uploads.Form(r.Context(), u)
	if err != nil {
		return err
	}
	return httpd.JSON(w, http.StatusOK, formBody{
		Method: http.MethodPost, URL: form.URL, Fields: form.Fields, Headers: map[string]string{},
		Expires: int(a.uploads.Options().LinkValid.Seconds()), JobID: u.JobID,
	})
}

// begunBody is the answer to a request that begins a multipart upload.
type begunBody struct {
	Key      string `json:"key"`
	UploadID string `json:"uploadId"`
	Bucket   string `json:"bucket"`
	JobID    string `json:"job_id"` // id of the job that begins when the upload is completed
}

func (a *API) begin(w http.ResponseWriter, r *http.Request, p principal.Principal) error {
	u, err := described(r, p)
	if err != nil {
		return err
	}
	if u, err = a.uploads.Begin(r.Context(), u); err != nil {
		return err
	}
	return httpd.JSON(w, http.StatusOK, begunBody{Key: u.Key, UploadID: u.S3ID, Bucket: a.bucket, JobID: u.JobID})
}

// handleOf returns the handle of the upload in the path and the query of a request.
func handleOf(r *http.Request, p principal.Principal) direct.Handle {
	return direct.Handle{Owner: p.Owner, Key: r.URL.Query().Get("key"), S3ID: r.PathValue("upload_id")}
}

// partBody is a part of an upload, with the member names of S3.
type partBody struct {
	PartNumber int    `json:"PartNumber"`
	Size       int64  `json:"Size"`
	ETag       string `json:"ETag"`
}

func (a *API) parts(w http.ResponseWriter, r *http.Request, p principal.Principal) error {
	parts, err := a.uploads.Parts(r.Context(), handleOf(r, p))
	if err != nil {
		return err
	}
	body := make([]partBody, len(parts))
	for i, part := range parts {
		body[i] = partBody{PartNumber: part.Number, Size: part.Size, ETag: part.ETag}
	}
	return httpd.JSON(w, http.StatusOK, body)
}

// signedBody is the answer to a request for the URL of a part.
type signedBody struct {
	URL     string `json:"url"`
	Expires int    `json:"expires"` // seconds
}

func (a *API) signOne(w http.ResponseWriter, r *http.Request, p principal.Principal) error {
	number, err := partNumber("part_number", r.PathValue("part"))
	if err != nil {
		return err
	}
	signed, err := a.uploads.Sign(r.Context(), handleOf(r, p), number)
	if err != nil {
		return err
	}
	return httpd.JSON(w, http.StatusOK, signedBody{URL: signed[number], Expires: int(a.uploads.Options().LinkValid.Seconds())})
}

// maxSigned is the largest number of parts for which one request may request URLs.
const maxSigned = 1000

// signedPartsBody is the answer to a request for the URLs of several parts. The URLs are by part
// number.
type signedPartsBody struct {
	URLs    map[int]string `json:"presignedUrls"`
	Expires int            `json:"expires"` // seconds
}

func (a *API) signSeveral(w http.ResponseWriter, r *http.Request, p principal.Principal) error {
	const name = "partNumbers"
	given := strings.Split(r.URL.Query().Get(name), ",")
	if len(given) > maxSigned {
		return invalid(name, "must name at most 1000 parts")
	}
	numbers := make([]int, len(given))
	for i, text := range given {
		var err error
		if numbers[i], err = partNumber(name, text); err != nil {
			return err
		}
	}
	signed, err := a.uploads.Sign(r.Context(), handleOf(r, p), numbers...)
	if err != nil {
		return err
	}
	return httpd.JSON(w, http.StatusOK, signedPartsBody{URLs: signed, Expires: int(a.uploads.Options().LinkValid.Seconds())})
}

// partNumber parses the number of a part. The error contains the name of the query parameter.
func partNumber(name, text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > direct.MaxParts {
		return 0, invalid(name, "must be a number from 1 to 10000")
	}
	return n, nil
}

func invalid(name, rule string) error {
	return fault.ValidationFailed(fault.Violation{Pointer: name, Detail: rule})
}

// maxComplete is the largest body of a request that completes an upload, in bytes. It is enough for
// 10 000 parts of about 60 bytes each.
const maxComplete = 1 << 20

// completedBody is the answer to a request that completes an upload.
type completedBody struct {
	Location string `json:"location"` // path of the recording, relative to the URL of the API
	Key      string `json:"key"`
	Bucket   string `json:"bucket"`
	JobID    string `json:"job_id"`
}

func (a *API) complete(w http.ResponseWriter, r *http.Request, p principal.Principal) error {
	parts, err := readParts(w, r)
	if err != nil {
		return err
	}
	u, err := a.uploads.Complete(r.Context(), handleOf(r, p), parts)
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/tokens/analysis-result/"+u.JobID)
	return httpd.JSON(w, http.StatusOK, completedBody{Location: "/jobs/" + u.JobID + "/audio", Key: u.Key, Bucket: a.bucket, JobID: u.JobID})
}

// readParts parses the list of parts in a request that completes an upload. It sorts the parts by
// number, since S3 requires ascending order.
func readParts(w http.ResponseWriter, r *http.Request) ([]direct.Part, error) {
	text, err := httpd.Body(w, r, maxComplete)
	if err != nil {
		return nil, err
	}
	var body struct {
		Parts []partBody `json:"parts"`
	}
	if err := json.Unmarshal(text, &body); err != nil {
		return nil, fault.UndecodedBody(err)
	}
	if len(body.Parts) == 0 {
		return nil, invalid("parts", "must not be empty")
	}
	seen := map[int]bool{}
	parts := make([]direct.Part, len(body.Parts))
	for i, given := range body.Parts {
		at := "parts/" + strconv.Itoa(i)
		switch {
		case given.PartNumber < 1 || given.PartNumber > direct.MaxParts:
			return nil, invalid(at+"/PartNumber", "must be a number from 1 to 10000")
		case seen[given.PartNumber]:
			return nil, invalid(at+"/PartNumber", "must not be given twice")
		case given.ETag == "":
			return nil, invalid(at+"/ETag", "must not be empty")
		}
		seen[given.PartNumber] = true
		parts[i] = direct.Part{Number: given.PartNumber, ETag: given.ETag}
	}
	slices.SortFunc(parts, func(x, y direct.Part) int { return x.Number - y.Number })
	return parts, nil
}

func (a *API) abort(w http.ResponseWriter, r *http.Request, p principal.Principal) error {
	if err := a.uploads.Abort(r.Context(), handleOf(r, p)); err != nil {
		return err
	}
	return httpd.JSON(w, http.StatusOK, struct{}{})
}

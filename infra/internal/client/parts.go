package client

import (
	"net/http"
	"net/url"
)

// PartsUpload is an upload whose bytes go straight to S3 in parts, as the API describes it when it begins.
type PartsUpload struct {
	Key string `json:"key"`
	ID  string `json:"uploadId"`
	Job string `json:"job_id"`
}

// Part is a part that S3 has.
type Part struct {
	PartNumber int
	ETag       string
}

// Path returns the path of a request for the upload: for the number of a part, for an action, or for the upload itself if
// action is empty.
func (u PartsUpload) Path(action string) string {
	p := "/s3/multipart/" + url.PathEscape(u.ID)
	if action != "" {
		p += "/" + action
	}
	return p + "?key=" + url.QueryEscape(u.Key)
}

// Completion returns the request that completes the upload.
func (u PartsUpload) Completion(parts []Part, into any) Request {
	r, _ := JSON(Request{Method: http.MethodPost, Path: u.Path("complete"), Into: into}, map[string]any{"parts": parts}) // encoding the parts cannot fail
	return r
}

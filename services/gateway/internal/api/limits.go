package api

import (
	"time"

	"github.com/gofiber/fiber/v2"

	"sori.internal/shared/media"
)

// UploadLimits are the limits of uploads that apply to every client. They include limits that
// another service enforces, so that clients can read all of them.
type UploadLimits struct {
	MaxBytes        int64         // bytes of a recording in a form
	MaxDirectBytes  int64         // bytes of a recording that the client sends to the bucket, or in several requests
	MaxFetchBytes   int64         // bytes of a recording that is fetched from a URL
	Expiry          time.Duration // time after which an uncompleted upload to the bucket is removed
	MaxSeconds      float64       // longest duration of a recording that is analysed; 0 if unknown
	AudioRetention  time.Duration // 0: recordings are kept until they are deleted
	ResultRetention time.Duration // 0: results are kept until they are deleted
}

// The names of the ways to upload in the API.
const (
	wayForm        = "form"
	wayS3Form      = "s3-form"
	wayS3Multipart = "s3-multipart"
	wayURL         = "url"
	wayTus         = "tus"
)

// The limits of a multipart upload at S3 (Amazon S3 User Guide, "Amazon S3 multipart upload limits").
const (
	minPartBytes = 5 << 20
	maxParts     = 10_000
)

// limitsBody has the limits of uploads.
type limitsBody struct {
	Uploads    []wayBody     `json:"uploads"`
	MediaTypes []string      `json:"media_types"`
	Codecs     []string      `json:"codecs"`
	MaxSeconds *float64      `json:"max_seconds"`
	Retention  retentionBody `json:"retention"`
}

// wayBody is a way to upload.
type wayBody struct {
	Way          string  `json:"way"`
	Path         string  `json:"path"`
	MaxBytes     int64   `json:"max_bytes"`
	ExpiresAfter float64 `json:"expires_after,omitempty"` // seconds
	MinPartBytes int     `json:"min_part_bytes,omitempty"`
	MaxParts     int     `json:"max_parts,omitempty"`
}

// retentionBody has the retention of recordings and of results, in seconds; null: they are kept
// until they are deleted.
type retentionBody struct {
	Audio  *float64 `json:"audio_seconds"`
	Result *float64 `json:"result_seconds"`
}

// sendLimits answers with the limits.
func (r *Routes) sendLimits(c *fiber.Ctx) error {
	l := r.Limits
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.JSON(limitsBody{
		Uploads: []wayBody{
			{Way: wayForm, Path: "/tokens/{token_id}/upload-audio", MaxBytes: l.MaxBytes},
			{Way: wayS3Form, Path: "/s3/params", MaxBytes: l.MaxDirectBytes, ExpiresAfter: l.Expiry.Seconds()},
			{
				Way: wayS3Multipart, Path: "/s3/multipart", MaxBytes: l.MaxDirectBytes, ExpiresAfter: l.Expiry.Seconds(),
				MinPartBytes: minPartBytes, MaxParts: maxParts,
			},
			{Way: wayURL, Path: "/tokens/{token_id}/analyze", MaxBytes: l.MaxFetchBytes},
			{Way: wayTus, Path: "/uploads/", MaxBytes: l.MaxDirectBytes, ExpiresAfter: l.Expiry.Seconds()},
		},
		MediaTypes: media.Types(), Codecs: media.Codecs(), MaxSeconds: positive(l.MaxSeconds),
		Retention: retentionBody{Audio: positive(l.AudioRetention.Seconds()), Result: positive(l.ResultRetention.Seconds())},
	})
}

// positive returns nil, which is null in JSON, for 0.
func positive(n float64) *float64 {
	if n == 0 {
		return nil
	}
	return &n
}

// Package objects makes presigned URLs of recordings in the bucket. It sends no request to S3:
// clients read the recordings from S3 directly.
package objects

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/minio/minio-go/v7"

	"sori.internal/services/tracker/internal/query"
)

// Links makes presigned URLs.
type Links struct{ client *minio.Client }

// New makes Links. The client must use the endpoint by which browsers reach S3.
func New(client *minio.Client) *Links { return &Links{client: client} }

// How long a link is valid. Everybody who has a link can read the recording, and its validity
// depends on the duration that the file states. So the validity has a maximum: for a longer
// recording, a link must be requested again.
const (
	startTime = 5 * time.Minute  // time to start playing
	maxValid  = 15 * time.Minute // longest validity
)

// Link implements api.Links. The URL is valid for five minutes and the duration of the recording,
// since a browser requests further parts while it plays, but never for longer than 15 minutes.
func (l *Links) Link(ctx context.Context, method string, r query.Recording, download bool) (string, error) {
	duration := time.Duration(min(r.Duration, maxValid.Seconds()) * float64(time.Second))
	u, err := l.client.Presign(ctx, method, r.Bucket, r.Key, min(startTime+duration, maxValid), url.Values{
		"response-content-type":        {r.MediaType},
		"response-content-disposition": {contentDisposition(download, r.FileName)},
	})
	if err != nil { // no request is sent; only a name that S3 does not allow causes an error
		return "", fmt.Errorf("presign %s: %w", r.Key, err)
	}
	return u.String(), nil
}

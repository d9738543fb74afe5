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

// New makes Links. The client must use the S3 endpoint that browsers can reach.
func New(client *minio.Client) *Links { return &Links{client: client} }

// The validity of a presigned URL. Everybody who has the URL can read the recording. The validity
// depends on the duration that the audio file states, which may be wrong. Therefore it has a
// maximum: to play a longer recording, a client must request a URL again.
const (
	startTime = 5 * time.Minute  // time until the client starts to play
	maxValid  = 15 * time.Minute // longest validity
)

// Link implements api.Links. The URL is valid for five minutes plus the duration of the recording,
// since a browser requests further parts while it plays, but at most for a quarter of an hour.
func (l *Links) Link(ctx context.Context, method string, r query.Recording, download bool) (string, error) {
	duration := time.Duration(min(r.Duration, maxValid.Seconds()) * float64(time.Second))
	u, err := l.client.Presign(ctx, method, r.Bucket, r.Key, min(startTime+duration, maxValid), url.Values{
		"response-content-type":        {r.MediaType},
		"response-content-disposition": {contentDisposition(download, r.FileName)},
	})
	if err != nil { // signing sends no request, so only an invalid bucket or key causes an error
		return "", fmt.Errorf("presign %s: %w", r.Key, err)
	}
	return u.String(), nil
}

// Package objects signs links to recordings in the bucket. It sends no request to S3: clients read
// the recordings themselves.
package objects

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/minio/minio-go/v7"

	"sori.internal/services/tracker/internal/query"
)

// Links makes links.
type Links struct{ client *minio.Client }

// New makes Links. The client must use the endpoint by which browsers reach S3.
func New(client *minio.Client) *Links { return &Links{client: client} }

// How long a link is valid.
const (
	startTime   = 5 * time.Minute // to start playing
	maxDuration = 24 * time.Hour  // the longest duration that is added, since S3 accepts links for a week at most
)

// Link implements api.Links. The link is valid for startTime and the duration of the recording,
// since a browser requests further parts while it plays.
func (l *Links) Link(ctx context.Context, method string, r query.Recording, download bool) (string, error) {
	duration := time.Duration(min(r.Duration, maxDuration.Seconds()) * float64(time.Second))
	u, err := l.client.Presign(ctx, method, r.Bucket, r.Key, startTime+duration, url.Values{
		"response-content-type":        {r.MediaType},
		"response-content-disposition": {contentDisposition(download, r.FileName)},
	})
	if err != nil { // no request is sent; only a name that S3 does not allow causes an error
		return "", fmt.Errorf("presign %s: %w", r.Key, err)
	}
	return u.String(), nil
}

// Package objects links to recordings in the bucket. It reads none of them: whoever
// is given a link does.
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

// New makes links with a client of the endpoint that browsers see.
func New(client *minio.Client) *Links { return &Links{client: client} }

// How long a link works.
const (
	begin   = 5 * time.Minute // the time to begin
	longest = 24 * time.Hour  // of a recording, however long it claims to be: S3 signs for a week at most
)

// Link implements api.Links. A browser that plays asks for more while it does: the
// link works for as long as the recording lasts.
func (l *Links) Link(ctx context.Context, method string, r query.Recording, download bool) (string, error) {
	lasts := time.Duration(min(r.Duration, longest.Seconds()) * float64(time.Second))
	u, err := l.client.Presign(ctx, method, r.Bucket, r.Key, begin+lasts, url.Values{
		"response-content-type":        {r.MediaType},
		"response-content-disposition": {contentDisposition(download, r.FileName)},
	})
	if err != nil { // nothing is asked of S3: only a name that it does not allow leads here
		return "", fmt.Errorf("presign %s: %w", r.Key, err)
	}
	return u.String(), nil
}

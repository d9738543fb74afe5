// Package objects links to objects in the bucket, in the style that the analysis
// server needs.
package objects

import (
	"context"
	"fmt"
	"time"

	"github.com/minio/minio-go/v7"

	"sori.internal/shared/fault"
	"sori.internal/shared/objectstore"
)

// Style is the form of a link.
type Style string

// The styles.
const (
	Presigned Style = "presigned" // a GET URL that needs no credentials, for a while
	S3        Style = "s3"        // s3://bucket/key, for servers with credentials of their own
)

// UnmarshalText takes the setting ANALYSIS_URL_STYLE.
func (s *Style) UnmarshalText(text []byte) error {
	switch given := Style(text); given {
	case Presigned, S3:
		*s = given
		return nil
	default:
		return fmt.Errorf("style %q is neither presigned nor s3", text)
	}
}

// Links makes links.
type Links struct {
	client *minio.Client // of the public endpoint
	cfg    objectstore.Config
	style  Style
	valid  time.Duration
}

// New makes links that, where they are presigned, are valid for the given time.
func New(client *minio.Client, cfg objectstore.Config, style Style, valid time.Duration) *Links {
	return &Links{client: client, cfg: cfg, style: style, valid: valid}
}

// Object implements analysis.Links.
func (l *Links) Object(ctx context.Context, bucket, key string) (string, error) {
	if l.style == S3 {
		return objectstore.Reference{Bucket: bucket, Key: key}.S3(), nil
	}
	u, err := l.client.PresignedGetObject(ctx, bucket, key, l.valid, nil)
	if err != nil { // nothing is asked of S3: only a name that it does not allow leads here
		return "", fault.Wrap(fault.Invalid, "reference-invalid",
			"A reference of the token names no possible object.", fmt.Errorf("presign %s: %w", key, err))
	}
	return u.String(), nil
}

// Reference implements analysis.Links. What is no object of ours is passed on.
func (l *Links) Reference(ctx context.Context, ref string) (string, error) {
	r, ok := l.cfg.Parse(ref)
	if !ok {
		return ref, nil
	}
	return l.Object(ctx, r.Bucket, r.Key)
}

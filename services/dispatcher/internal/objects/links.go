// Package objects makes URLs of objects in the form that the analysis server needs.
package objects

import (
	"context"
	"fmt"
	"time"

	"github.com/minio/minio-go/v7"

	"sori.internal/shared/fault"
	"sori.internal/shared/objectstore"
)

// Style is the form of a URL.
type Style string

// The styles.
const (
	Presigned Style = "presigned" // a GET URL that works without credentials until it expires
	S3        Style = "s3"        // s3://bucket/key, for servers with S3 credentials of their own
)

// UnmarshalText parses the setting ANALYSIS_URL_STYLE.
func (s *Style) UnmarshalText(text []byte) error {
	switch style := Style(text); style {
	case Presigned, S3:
		*s = style
		return nil
	default:
		return fmt.Errorf("style %q is neither presigned nor s3", text)
	}
}

// Links makes URLs of objects.
type Links struct {
	client *minio.Client // client of the public S3 endpoint, which signs URLs
	cfg    objectstore.Config
	style  Style
	expiry time.Duration // validity of presigned URLs
}

// New makes Links. Presigned URLs expire after expiry.
func New(client *minio.Client, cfg objectstore.Config, style Style, expiry time.Duration) *Links {
	return &Links{client: client, cfg: cfg, style: style, expiry: expiry}
}

// Object implements analysis.Links.
func (l *Links) Object(ctx context.Context, bucket, key string) (string, error) {
	if l.style == S3 {
		return objectstore.Reference{Bucket: bucket, Key: key}.S3(), nil
	}
	u, err := l.client.PresignedGetObject(ctx, bucket, key, l.expiry, nil)
	if err != nil { // signing sends no request, so only an invalid bucket or key causes an error
		return "", fault.Wrap(fault.Invalid, "reference-invalid",
			"A reference of the token names no possible object.", fmt.Errorf("presign %s: %w", key, err))
	}
	return u.String(), nil
}

// Reference implements analysis.Links. It fails for a reference that is not allowed: the reference
// may have been stored before references were checked, or by another program.
func (l *Links) Reference(ctx context.Context, ref string) (string, error) {
	r, err := l.cfg.Resolve(ref)
	if err != nil {
		return "", err
	}
	if r.URL != "" {
		return r.URL, nil
	}
	return l.Object(ctx, r.Bucket, r.Key)
}

package objects

import (
	"context"

	"github.com/minio/minio-go/v7"

	"sori.internal/shared/objectstore"
)

// Versions finds the versions of reference files.
type Versions struct {
	client *minio.Client // client of the endpoint at which this process reaches S3
	cfg    objectstore.Config
}

// NewVersions makes Versions.
func NewVersions(client *minio.Client, cfg objectstore.Config) *Versions {
	return &Versions{client: client, cfg: cfg}
}

// Version implements analysis.Versions. The version of an object is its location and its entity
// tag. The version of a file on another host is its URL.
func (v *Versions) Version(ctx context.Context, ref string) (string, error) {
	r, err := v.cfg.Resolve(ref)
	if err != nil || r.URL != "" {
		return r.URL, err
	}
	info, err := v.client.StatObject(ctx, r.Bucket, r.Key, minio.StatObjectOptions{})
	if err != nil {
		return "", objectstore.Translate("look up "+r.S3(), err)
	}
	return r.S3() + " " + info.ETag, nil
}

package main

import (
	"context"

	"github.com/minio/minio-go/v7"

	"sori.internal/infra/internal/invariants"
	"sori.internal/shared/config"
	"sori.internal/shared/objectstore"
)

// objects reads the bucket. It never writes, because the uploader owns the bucket.
type objects struct {
	client *minio.Client
	bucket string
}

// openObjects returns an S3 client. It does not connect.
func openObjects(settings config.Lookup) (objects, error) {
	var cfg objectstore.Config
	if err := config.Load(settings, &cfg); err != nil {
		return objects{}, err
	}
	client, err := objectstore.Open(cfg)
	return objects{client, cfg.Bucket}, err
}

// each calls the function see for each object of a job, or for those of every job if the parameter job is empty.
func (o objects) each(ctx context.Context, job string, see func(job string, info minio.ObjectInfo)) error {
	return invariants.EachObject(ctx, o.client, o.bucket, job, see)
}

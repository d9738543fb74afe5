package main

import (
	"context"

	"github.com/minio/minio-go/v7"

	"sori.internal/infra/internal/invariants"
	"sori.internal/shared/config"
	"sori.internal/shared/objectstore"
)

// objects reads the bucket, which is the uploader's.
type objects struct {
	client *minio.Client
	bucket string
}

// openObjects prepares a client. It does not dial.
func openObjects(settings config.Lookup) (objects, error) {
	var cfg objectstore.Config
	if err := config.Load(settings, &cfg); err != nil {
		return objects{}, err
	}
	client, err := objectstore.Open(cfg)
	return objects{client, cfg.Bucket}, err
}

// each shows see the objects of a job, or of every job if it is empty.
func (o objects) each(ctx context.Context, job string, see func(job string, info minio.ObjectInfo)) error {
	return invariants.EachObject(ctx, o.client, o.bucket, job, see)
}

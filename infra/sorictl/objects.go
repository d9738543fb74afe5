package main

import (
	"context"
	"strings"

	"github.com/minio/minio-go/v7"

	"sori.internal/shared/config"
	"sori.internal/shared/event"
	"sori.internal/shared/objectstore"
)

// recordings is the prefix of the recordings' keys: audio/{job}_{name}.
const recordings = "audio/"

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

// each shows see the objects of a job, or of every job where it is empty. What
// lies among the recordings and names no job is not Sori's and is left out.
func (o objects) each(ctx context.Context, job string, see func(job string, info minio.ObjectInfo)) error {
	ctx, cancel := context.WithCancel(ctx) // ends the listing where it is not read to its end
	defer cancel()
	for info := range o.client.ListObjects(ctx, o.bucket, minio.ListObjectsOptions{Prefix: recordings + job, Recursive: true}) {
		if info.Err != nil {
			return objectstore.Translate("list bucket "+o.bucket, info.Err)
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(info.Key, recordings), "_")
		if id, ok := event.ParseJobID(name); ok {
			see(id, info)
		}
	}
	return ctx.Err()
}

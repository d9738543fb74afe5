package main

import (
	"sori.internal/infra/internal/invariants"
	"sori.internal/shared/config"
	"sori.internal/shared/objectstore"
)

// openObjects returns a reader of the bucket. It does not connect. Nothing here writes to the bucket,
// because the uploader owns it.
func openObjects(settings config.Lookup) (bucket invariants.Checker, err error) {
	var cfg objectstore.Config
	if err := config.Load(settings, &cfg); err != nil {
		return bucket, err
	}
	bucket.Bucket = cfg.Bucket
	bucket.S3, err = objectstore.Open(cfg)
	return bucket, err
}

// Package objects stores recordings in the S3 bucket.
package objects

import (
	"context"
	"io"

	"github.com/minio/minio-go/v7"

	"sori.internal/services/uploader/internal/upload"
	"sori.internal/shared/fault"
	"sori.internal/shared/objectstore"
)

// Bucket is the bucket that the uploader owns.
type Bucket struct {
	client *minio.Client
	public *minio.Client // signs the requests that clients send to S3
	name   string
}

// New makes a Bucket. public signs the requests that clients send to S3, so its endpoint must be
// the one that clients can reach.
func New(client, public *minio.Client, name string) *Bucket {
	return &Bucket{client: client, public: public, name: name}
}

// Name returns the bucket's name.
func (b *Bucket) Name() string { return b.name }

// maxSinglePut is the largest size of an object that S3 accepts in one PUT, in bytes.
const maxSinglePut = 5 << 30

// sha256Key is the key of the user metadata that contains an object's SHA-256.
const sha256Key = "Sha256"

// Put stores an object whose size is known. The object is stored completely or not at all.
func (b *Bucket) Put(ctx context.Context, o upload.Object, body io.Reader) error {
	options := putOptions(o)
	options.DisableMultipart = o.Size <= maxSinglePut // a single PUT needs no buffers and is faster than a multipart upload
	_, err := b.client.PutObject(ctx, b.name, o.Key, body, o.Size, options)
	return objectstore.Translate("put "+o.Key, err)
}

func putOptions(o upload.Object) minio.PutObjectOptions {
	return minio.PutObjectOptions{ContentType: o.MediaType, UserMetadata: metadataOf(o)}
}

// metadataOf returns the user metadata of an object.
func metadataOf(o upload.Object) map[string]string {
	if o.SHA256 == "" {
		return nil
	}
	return map[string]string{sha256Key: o.SHA256}
}

// Stat returns the metadata of an object. It returns false if the object does not exist.
func (b *Bucket) Stat(ctx context.Context, key string) (upload.Object, bool, error) {
	info, err := b.client.StatObject(ctx, b.name, key, minio.StatObjectOptions{})
	if err = objectstore.Translate("stat "+key, err); fault.Is(err, fault.NotFound) {
		return upload.Object{}, false, nil
	}
	if err != nil {
		return upload.Object{}, false, err
	}
	return upload.Object{Key: key, Size: info.Size, SHA256: info.UserMetadata[sha256Key], MediaType: info.ContentType}, true, nil
}

// Remove removes an object. It also succeeds if the object does not exist.
func (b *Bucket) Remove(ctx context.Context, key string) error {
	err := objectstore.Translate("remove "+key, b.client.RemoveObject(ctx, b.name, key, minio.RemoveObjectOptions{}))
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// RemovePrefix removes every object whose key has a prefix, and aborts the unfinished multipart
// uploads to such keys.
func (b *Bucket) RemovePrefix(ctx context.Context, prefix string) error {
	remove, err := b.ListPrefix(ctx, prefix)
	if err != nil {
		return err
	}
	return remove(ctx, "")
}

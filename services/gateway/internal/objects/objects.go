// Package objects reads the S3 objects to which the catalogue refers. It sends no request to another
// host, so that no client can make the gateway send one (SSRF).
package objects

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/minio/minio-go/v7"

	"sori.internal/shared/fault"
	"sori.internal/shared/objectstore"
)

// Objects implements catalogue.Objects.
type Objects struct {
	core   minio.Core    // client of S3 at the address that this process uses
	public *minio.Client // client of S3 at the address that clients use
	cfg    objectstore.Config
}

// Open prepares the clients. It does not dial.
func Open(cfg objectstore.Config) (*Objects, error) {
	internal, err := objectstore.Open(cfg)
	if err != nil {
		return nil, err
	}
	public, err := objectstore.OpenPublic(cfg)
	if err != nil {
		return nil, err
	}
	return &Objects{core: minio.Core{Client: internal}, public: public, cfg: cfg}, nil
}

// Read implements catalogue.Objects.
func (o *Objects) Read(ctx context.Context, ref string, limit int64, admit func(size int64) error) ([]byte, error) {
	r, err := o.cfg.Resolve(ref)
	if err != nil {
		return nil, err
	}
	if r.URL != "" {
		return nil, fault.New(fault.Unsupported, "reference-foreign", "The reference names no object of this storage.")
	}
	body, info, _, err := o.core.GetObject(ctx, r.Bucket, r.Key, minio.GetObjectOptions{})
	if err != nil {
		return nil, objectstore.Translate("get "+r.S3(), err)
	}
	defer body.Close()
	if info.Size > limit {
		return nil, fault.ExceedsLimit("object", limit, nil)
	}
	if err := admit(info.Size); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err == nil && int64(len(text)) > limit {
		return nil, fault.ExceedsLimit("object", limit, nil)
	}
	return text, objectstore.Translate("get "+r.S3(), err)
}

// CheckReference implements api.References and upload.References.
func (o *Objects) CheckReference(ref string) error {
	_, err := o.cfg.Resolve(ref)
	return err
}

// Link implements catalogue.Objects. A URL of another host is returned unchanged: the browser
// requests it, not the gateway.
func (o *Objects) Link(ctx context.Context, ref string, valid time.Duration) (string, error) {
	r, err := o.cfg.Resolve(ref)
	if r.URL != "" || err != nil && fault.As(err).Code == "reference-foreign" {
		return ref, nil
	}
	if err != nil {
		return "", err
	}
	u, err := o.public.PresignedGetObject(ctx, r.Bucket, r.Key, valid, nil)
	if err != nil { // no request is sent; only a name that S3 does not allow causes an error
		return "", fault.Wrap(fault.Invalid, "reference-invalid", "The reference names no possible object.",
			fmt.Errorf("presign %s: %w", r.S3(), err))
	}
	return u.String(), nil
}

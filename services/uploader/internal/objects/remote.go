package objects

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"

	"sori.internal/services/uploader/internal/direct"
	"sori.internal/services/uploader/internal/upload"
	"sori.internal/shared/event"
	"sori.internal/shared/objectstore"
	"sori.internal/shared/source"
)

const (
	// partSize is the size of the parts in which PutStream stores an object, in bytes. A part is
	// buffered in memory, so that no request to S3 has to wait for the server of the recording.
	partSize = direct.MinPart

	// MaxStream is the size of the largest object that PutStream can store, in bytes.
	MaxStream = partSize * direct.MaxParts

	// abortTimeout is the time limit for removing the parts of an object that could not be stored.
	abortTimeout = 10 * time.Second
)

// PutStream stores an object of unknown size. The object is stored completely or not at all. Errors
// of body are returned unchanged.
func (b *Bucket) PutStream(ctx context.Context, o upload.Object, body io.Reader) error {
	buf := make([]byte, partSize)
	n, ended, err := upload.ReadFull(body, buf)
	if err != nil {
		return err
	}
	if ended {
		o.Size = int64(n)
		return b.Put(ctx, o, bytes.NewReader(buf[:n]))
	}
	core := b.core()
	id, err := core.NewMultipartUpload(ctx, b.name, o.Key, putOptions(o))
	if err != nil {
		return objectstore.Translate("begin to put "+o.Key, err)
	}
	if err := b.putParts(ctx, o.Key, id, body, buf); err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
		defer cancel()
		_ = core.AbortMultipartUpload(ctx, b.name, o.Key, id) // after an error, RemoteUploader.cleanUp removes the parts
		return err
	}
	return nil
}

// putParts stores the parts of a multipart upload and completes it. buf contains the first part,
// and body the rest.
func (b *Bucket) putParts(ctx context.Context, key, id string, body io.Reader, buf []byte) error {
	core := b.core()
	var parts []minio.CompletePart
	n, ended := len(buf), false
	for n > 0 {
		if len(parts) == direct.MaxParts {
			return fmt.Errorf("put %s: more than %d parts", key, direct.MaxParts)
		}
		part, err := core.PutObjectPart(ctx, b.name, key, id, len(parts)+1, bytes.NewReader(buf[:n]), int64(n), minio.PutObjectPartOptions{})
		if err != nil {
			return objectstore.Translate("put a part of "+key, err)
		}
		parts = append(parts, minio.CompletePart{PartNumber: part.PartNumber, ETag: part.ETag})
		if ended {
			break
		}
		if n, ended, err = upload.ReadFull(body, buf); err != nil {
			return err
		}
	}
	_, err := core.CompleteMultipartUpload(ctx, b.name, key, id, parts, minio.PutObjectOptions{})
	return objectstore.Translate("put "+key, err)
}

// HeadFrom returns the first n bytes of an object in another bucket, or the whole object if it is
// smaller. It also returns the size and the ETag of the object.
func (b *Bucket) HeadFrom(ctx context.Context, from source.Object, n int) ([]byte, upload.RemoteObject, error) {
	info, err := b.client.StatObject(ctx, from.Bucket, from.Key, minio.StatObjectOptions{})
	if err != nil {
		return nil, upload.RemoteObject{}, sourceError(from, err)
	}
	found := upload.RemoteObject{Size: info.Size, ETag: info.ETag}
	if info.Size == 0 {
		return nil, found, nil
	}
	var options minio.GetObjectOptions
	err = errors.Join(options.SetRange(0, min(int64(n), info.Size)-1), options.SetMatchETag(info.ETag))
	if err != nil {
		return nil, found, fmt.Errorf("get the head of an object: %w", err)
	}
	core := b.core()
	body, _, _, err := core.GetObject(ctx, from.Bucket, from.Key, options)
	if err != nil {
		return nil, found, sourceError(from, err)
	}
	defer body.Close()
	head, err := io.ReadAll(io.LimitReader(body, int64(n)))
	return head, found, objectstore.Translate("get the head of an object of bucket "+from.Bucket, err)
}

// CopyFrom makes S3 copy an object from another bucket. It fails if the object has changed since
// HeadFrom returned found.
func (b *Bucket) CopyFrom(ctx context.Context, from source.Object, found upload.RemoteObject, to upload.Object) error {
	dst := minio.CopyDestOptions{
		Bucket: b.name, Object: to.Key, ReplaceMetadata: true, ContentType: to.MediaType, UserMetadata: metadataOf(to),
	}
	src := minio.CopySrcOptions{Bucket: from.Bucket, Object: from.Key, MatchETag: found.ETag}
	var err error
	if found.Size > maxSinglePut {
		_, err = b.client.ComposeObject(ctx, dst, src)
	} else {
		_, err = b.client.CopyObject(ctx, dst, src)
	}
	if err != nil {
		return sourceError(from, err)
	}
	return nil
}

// sourceError translates an error about an object in another bucket. It returns a FetchError, after
// which no other try is made, if the object does not exist or access is denied.
func sourceError(from source.Object, err error) error {
	switch status := minio.ToErrorResponse(err).StatusCode; status {
	case http.StatusNotFound, http.StatusForbidden:
		return &upload.FetchError{
			Code: event.CodeFetchFailed, Status: status,
			Detail: fmt.Sprintf("S3 answered %d for the object in bucket %s.", status, from.Bucket),
		}
	default:
		return objectstore.Translate("read an object of bucket "+from.Bucket, err)
	}
}

// ListPrefix lists the objects and the unfinished multipart uploads whose key has a prefix. It
// returns a function that removes what was listed, except the object with the key keep.
func (b *Bucket) ListPrefix(ctx context.Context, prefix string) (remove func(ctx context.Context, keep string) error, err error) {
	ctx, cancel := context.WithCancel(ctx) // the listing ends with the context, even if it is not read to its end
	defer cancel()
	var keys []string
	for o := range b.client.ListObjects(ctx, b.name, minio.ListObjectsOptions{Prefix: prefix, Recursive: true}) {
		if o.Err != nil {
			return nil, objectstore.Translate("list "+prefix, o.Err)
		}
		keys = append(keys, o.Key)
	}
	unfinished, err := b.listUnfinished(ctx, prefix)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, keep string) error {
		for _, key := range keys {
			if key == keep {
				continue
			}
			if err := b.Remove(ctx, key); err != nil {
				return err
			}
		}
		for _, o := range unfinished {
			err := b.core().AbortMultipartUpload(ctx, b.name, o.Key, o.UploadID)
			if code := minio.ToErrorResponse(err).Code; err != nil && code != minio.NoSuchUpload {
				return objectstore.Translate("abort an upload of "+prefix, err)
			}
		}
		return nil
	}, nil
}

// listUnfinished lists the unfinished multipart uploads whose key has a prefix. If the credentials
// or the S3 server do not allow it to list them, it returns none: a lifecycle rule of the bucket
// must remove them.
func (b *Bucket) listUnfinished(ctx context.Context, prefix string) (found []minio.ObjectMultipartInfo, err error) {
	for o := range b.client.ListIncompleteUploads(ctx, b.name, prefix, true) {
		switch minio.ToErrorResponse(o.Err).StatusCode {
		case http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented:
			return nil, nil
		}
		if o.Err != nil {
			return nil, objectstore.Translate("list unfinished uploads of "+prefix, o.Err)
		}
		found = append(found, o)
	}
	return found, ctx.Err()
}

package objects

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"sori.internal/services/uploader/internal/direct"
	"sori.internal/shared/fault"
	"sori.internal/shared/objectstore"
)

// core returns the client for the single S3 operations of multipart uploads.
func (b *Bucket) core() minio.Core { return minio.Core{Client: b.client} }

// BeginParts implements direct.Bucket.
func (b *Bucket) BeginParts(ctx context.Context, key string) (string, error) {
	id, err := b.core().NewMultipartUpload(ctx, b.name, key, minio.PutObjectOptions{ContentType: anyBytes})
	return id, objectstore.Translate("begin the parts of "+key, err)
}

// anyBytes is the media type of an object before its content is known.
const anyBytes = "application/octet-stream"

// SignPart implements direct.Bucket.
func (b *Bucket) SignPart(ctx context.Context, key, s3ID string, number int, valid time.Duration) (*url.URL, error) {
	link, err := b.public.Presign(ctx, http.MethodPut, b.name, key, valid, url.Values{
		"uploadId": {s3ID}, "partNumber": {strconv.Itoa(number)},
	})
	if err != nil {
		return nil, fmt.Errorf("sign part %d of %s: %w", number, key, err)
	}
	return link, nil
}

// partsPage is the largest number of parts that S3 lists in one answer.
const partsPage = 1000

// Parts implements direct.Bucket.
func (b *Bucket) Parts(ctx context.Context, key, s3ID string) ([]direct.Part, error) {
	var parts []direct.Part
	for after := 0; ; {
		page, err := b.core().ListObjectParts(ctx, b.name, key, s3ID, after, partsPage)
		if err != nil {
			return nil, translateParts("list the parts of "+key, err)
		}
		for _, p := range page.ObjectParts {
			parts = append(parts, direct.Part{Number: p.PartNumber, ETag: p.ETag, Size: p.Size})
		}
		if !page.IsTruncated || page.NextPartNumberMarker <= after {
			return parts, nil
		}
		after = page.NextPartNumberMarker
	}
}

// CompleteParts implements direct.Bucket.
func (b *Bucket) CompleteParts(ctx context.Context, key, s3ID string, parts []direct.Part) error {
	all := make([]minio.CompletePart, len(parts))
	for i, p := range parts {
		all[i] = minio.CompletePart{PartNumber: p.Number, ETag: strings.Trim(p.ETag, `"`)}
	}
	_, err := b.core().CompleteMultipartUpload(ctx, b.name, key, s3ID, all, minio.PutObjectOptions{})
	return translateParts("complete the parts of "+key, err)
}

// AbortParts implements direct.Bucket.
func (b *Bucket) AbortParts(ctx context.Context, key, s3ID string) error {
	return translateParts("abort the parts of "+key, b.core().AbortMultipartUpload(ctx, b.name, key, s3ID))
}

// PutPart implements resumable.Bucket. It does not sign the content of the part: without TLS, a
// signature would need a further hash of every byte, here and at S3. Instead, the SHA-256 that is
// computed while the bytes arrive is compared with that of the object after the job has begun.
func (b *Bucket) PutPart(ctx context.Context, key, s3ID string, number int, part io.Reader, size int64) error {
	_, err := b.core().PutObjectPart(ctx, b.name, key, s3ID, number, part, size, minio.PutObjectPartOptions{DisableContentSha256: true})
	return translateParts(fmt.Sprintf("put part %d of %s", number, key), err)
}

// CopyPart implements resumable.Bucket.
func (b *Bucket) CopyPart(ctx context.Context, from string, offset, size int64, key, s3ID string, number int) error {
	_, err := b.core().CopyObjectPart(ctx, b.name, from, b.name, key, s3ID, number, offset, size, nil)
	return translateParts(fmt.Sprintf("copy %s to part %d of %s", from, number, key), err)
}

// translateParts translates the errors of S3 about multipart uploads to errors with a kind.
func translateParts(tried string, err error) error {
	if err == nil {
		return nil
	}
	switch minio.ToErrorResponse(err).Code {
	case minio.NoSuchUpload:
		f := direct.NotFound()
		f.Err = err
		return f
	case "InvalidPart", "InvalidPartOrder", "MalformedXML", "InvalidArgument", "EntityTooLarge":
		return fault.Wrap(fault.Invalid, "invalid-parts",
			"The parts cannot be joined: one is missing, its ETag is another one, or they are too large together.", err)
	case "EntityTooSmall":
		return fault.Wrap(fault.Invalid, "part-too-small", "Every part but the last must have at least 5 MiB.", err)
	}
	return objectstore.Translate(tried, err)
}

// SignForm implements direct.Bucket.
func (b *Bucket) SignForm(ctx context.Context, key string, maxBytes int64, valid time.Duration) (direct.Form, error) {
	p := minio.NewPostPolicy()
	for _, err := range []error{
		p.SetBucket(b.name), p.SetKey(key), p.SetExpires(time.Now().UTC().Add(valid)), p.SetContentLengthRange(1, maxBytes),
		p.SetSuccessStatusAction(strconv.Itoa(http.StatusCreated)), // the answer then contains the key, which some clients read
	} {
		if err != nil {
			return direct.Form{}, fmt.Errorf("sign a form for %s: %w", key, err)
		}
	}
	link, fields, err := b.public.PresignedPostPolicy(ctx, p)
	if err != nil {
		return direct.Form{}, objectstore.Translate("sign a form for "+key, err)
	}
	return direct.Form{URL: link.String(), Fields: fields}, nil
}

// Head implements direct.Bucket.
func (b *Bucket) Head(ctx context.Context, key string, n int64) ([]byte, error) {
	tried := "read the head of " + key
	options := minio.GetObjectOptions{}
	if err := options.SetRange(0, n-1); err != nil {
		return nil, fmt.Errorf("%s: %w", tried, err)
	}
	body, _, _, err := b.core().GetObject(ctx, b.name, key, options)
	if err != nil {
		return nil, objectstore.Translate(tried, err)
	}
	defer body.Close()
	head, err := io.ReadAll(io.LimitReader(body, n))
	return head, objectstore.Translate(tried, err)
}

// Open returns a reader of an object. Its errors have the kinds of objectstore.Translate.
func (b *Bucket) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	body, _, _, err := b.core().GetObject(ctx, b.name, key, minio.GetObjectOptions{})
	if err != nil {
		return nil, objectstore.Translate("read "+key, err)
	}
	return content{body, key}, nil
}

// content is a reader of an object that translates the errors of S3.
type content struct {
	io.ReadCloser
	key string
}

// Read implements io.Reader.
func (c content) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if err == io.EOF { //nolint:errorlint // the contract of io.Reader
		return n, err //nolint:wrapcheck // as above
	}
	return n, objectstore.Translate("read "+c.key, err)
}

// Unfinished implements direct.Bucket.
func (b *Bucket) Unfinished(ctx context.Context, f func(direct.Unfinished) error) error {
	ctx, cancel := context.WithCancel(ctx) // the listing ends with the context, even if it is not read to its end
	defer cancel()
	for u := range b.client.ListIncompleteUploads(ctx, b.name, objectstore.Recordings, true) {
		if u.Err != nil {
			return objectstore.Translate("list the unfinished uploads", u.Err)
		}
		parts, err := b.Parts(ctx, u.Key, u.UploadID)
		if fault.Is(err, fault.NotFound) { // the upload was completed or aborted in the meantime
			continue
		}
		if err != nil {
			return err
		}
		unfinished := direct.Unfinished{Key: u.Key, S3ID: u.UploadID, Begun: u.Initiated}
		for _, p := range parts {
			unfinished.Size += p.Size
		}
		if err := f(unfinished); err != nil {
			return err
		}
	}
	return ctx.Err()
}

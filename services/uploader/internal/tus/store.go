package tus

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/tus/tusd/v2/pkg/handler"

	"sori.internal/services/uploader/internal/direct"
	"sori.internal/services/uploader/internal/resumable"
	"sori.internal/shared/fault"
	"sori.internal/shared/principal"
	"sori.internal/shared/uploadrequest"
)

// exchange is what a request and the store that tusd calls for it have in common.
type exchange struct {
	header      http.Header // of the answer
	description uploadrequest.Description
	check       *resumable.Checksum
	expiry      time.Duration
	maxBytes    int64 // of any upload
	length      int64 // bytes, of the upload that the request names
	err         error // of the store
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange {
	e, _ := ctx.Value(exchangeKey{}).(*exchange)
	return e
}

// fail keeps an error for the answer, and returns one that tusd understands.
func (e *exchange) fail(err error) error {
	if err == nil {
		return nil
	}
	e.err = err
	return handler.NewError("", "", http.StatusInternalServerError)
}

// store lets tusd store uploads.
type store struct{ core *resumable.Core }

// composer returns the store for tusd.
func (s store) composer() *handler.StoreComposer {
	c := handler.NewStoreComposer()
	c.UseCore(s)
	c.UseTerminater(s)
	c.UseConcater(s)
	c.UseLengthDeferrer(s)
	return c
}

// NewUpload implements handler.DataStore.
func (s store) NewUpload(ctx context.Context, info handler.FileInfo) (handler.Upload, error) {
	e, d := exchangeOf(ctx), exchangeOf(ctx).description
	if d.TokenID == 0 && !info.IsPartial {
		return nil, e.fail(fault.MalformedRequest("The request does not describe an upload.", nil))
	}
	u := resumable.Upload{Metadata: info.MetaData, Partial: info.IsPartial, Length: info.Size}
	u.Upload = direct.Upload{
		Owner: principal.From(ctx).Owner, TokenID: d.TokenID, TextGridURL: d.TextGridURL, PitchURL: d.PitchURL, FileName: d.FileName, SHA256: d.SHA256, Fresh: d.Fresh,
	}
	if info.SizeIsDeferred {
		u.Length = resumable.Deferred
	}
	session, err := s.core.Create(ctx, u)
	if err != nil {
		return nil, e.fail(err)
	}
	return &upload{core: s.core, session: session, exchange: e}, nil
}

// GetUpload implements handler.DataStore.
func (s store) GetUpload(ctx context.Context, id string) (handler.Upload, error) {
	e := exchangeOf(ctx)
	session, err := s.core.Find(ctx, principal.From(ctx).Owner, id)
	if err != nil {
		return nil, e.fail(err)
	}
	e.length = session.Length
	return &upload{core: s.core, session: session, exchange: e}, nil
}

// AsTerminatableUpload implements handler.TerminaterDataStore.
func (s store) AsTerminatableUpload(u handler.Upload) handler.TerminatableUpload {
	return u.(*upload) //nolint:forcetypeassert // the store makes no others
}

// AsLengthDeclarableUpload implements handler.LengthDeferrerDataStore.
func (s store) AsLengthDeclarableUpload(u handler.Upload) handler.LengthDeclarableUpload {
	return u.(*upload) //nolint:forcetypeassert // as above
}

// AsConcatableUpload implements handler.ConcaterDataStore.
func (s store) AsConcatableUpload(u handler.Upload) handler.ConcatableUpload {
	return u.(*upload) //nolint:forcetypeassert // as above
}

// upload is an upload in one request.
type upload struct {
	core     *resumable.Core
	session  *resumable.Session
	exchange *exchange
}

// GetInfo implements handler.Upload. It finishes an upload whose bytes have all arrived: its client is
// told that it is complete only when its job has begun.
func (u *upload) GetInfo(ctx context.Context) (handler.FileInfo, error) {
	if err := u.FinishUpload(ctx); err != nil {
		return handler.FileInfo{}, err
	}
	s := u.session
	if !s.Job {
		u.exchange.header.Set("Upload-Expires", s.Created.Add(u.exchange.expiry).UTC().Format(http.TimeFormat))
	}
	return handler.FileInfo{
		ID: s.JobID, Size: max(s.Length, 0), SizeIsDeferred: s.Length == resumable.Deferred, Offset: s.Offset,
		MetaData: s.Metadata, IsPartial: s.Partial,
	}, nil
}

// WriteChunk implements handler.Upload.
func (u *upload) WriteChunk(ctx context.Context, offset int64, body io.Reader) (int64, error) {
	if offset != u.session.Offset {
		return 0, u.exchange.fail(resumable.OffsetMismatch())
	}
	n, err := u.core.Write(ctx, u.session, body, u.exchange.check)
	return n, u.exchange.fail(err)
}

// FinishUpload implements handler.Upload.
func (u *upload) FinishUpload(ctx context.Context) error {
	if err := u.core.Finish(ctx, u.session); err != nil {
		return u.exchange.fail(err)
	}
	if u.session.Job {
		u.exchange.header.Set(jobHeader, u.session.JobID)
		u.exchange.header.Set("Link", "</tokens/analysis-result/"+u.session.JobID+`>; rel="related"`)
		u.exchange.header.Del("Upload-Expires")
	}
	return nil
}

// DeclareLength implements handler.LengthDeclarableUpload.
func (u *upload) DeclareLength(ctx context.Context, length int64) error {
	return u.exchange.fail(u.core.Declare(ctx, u.session, length))
}

// Terminate implements handler.TerminatableUpload.
func (u *upload) Terminate(ctx context.Context) error {
	return u.exchange.fail(u.core.Abort(ctx, u.session))
}

// ConcatUploads implements handler.ConcatableUpload.
func (u *upload) ConcatUploads(ctx context.Context, partials []handler.Upload) error {
	sessions := make([]*resumable.Session, len(partials))
	for i, p := range partials {
		sessions[i] = p.(*upload).session //nolint:forcetypeassert // the store makes no others
	}
	if err := u.core.Concat(ctx, u.session, sessions); err != nil {
		return u.exchange.fail(err)
	}
	return u.FinishUpload(ctx) // sets the header of the answer
}

// GetReader implements handler.Upload. No route reads an upload.
func (u *upload) GetReader(context.Context) (io.ReadCloser, error) {
	return nil, u.exchange.fail(direct.NotFound())
}

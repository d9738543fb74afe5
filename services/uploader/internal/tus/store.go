package tus

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/tus/tusd/v2/pkg/handler"

	"sori.internal/services/uploader/internal/direct"
	"sori.internal/services/uploader/internal/resumable"
	"sori.internal/shared/fault"
	"sori.internal/shared/principal"
	"sori.internal/shared/uploadrequest"
)

// exchange is the state of one request. The store, which tusd calls, gets the exchange from the
// context of the request.
type exchange struct {
	request     *http.Request
	body        *counted    // body of the request
	header      http.Header // header of the answer
	description uploadrequest.Description
	check       *resumable.Checksum
	expiry      time.Duration
	maxBytes    int64                // largest size of an upload
	session     *resumable.Session   // upload of the request; nil before it is found or created
	partials    []*resumable.Session // uploads that the request concatenates
	err         error                // error of the store, from which the answer is made
}

// ends reports whether the request says that the recording ends with its body. Only requests of the
// IETF's draft can say so.
func (e *exchange) ends() bool {
	h := e.request.Header
	return h.Get("Upload-Draft-Interop-Version") != "" && (h.Get("Upload-Complete") == "?1" || h.Get("Upload-Incomplete") == "?0")
}

// hasBytes reports whether the request has a body that is not empty. It may read one byte of it.
func (e *exchange) hasBytes() bool {
	if e.request.ContentLength >= 0 {
		return e.request.ContentLength > 0
	}
	n, _ := e.request.Body.Read(make([]byte, 1))
	return n > 0
}

// limit returns the largest size of the upload: its length, if that is known.
func (e *exchange) limit() int64 {
	if e.session.Length == resumable.Deferred {
		return e.maxBytes
	}
	return e.session.Length
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange {
	e, _ := ctx.Value(exchangeKey{}).(*exchange)
	return e
}

// fail stores an error, from which answer.failure makes the answer, and returns an error that tusd
// accepts.
func (e *exchange) fail(err error) error {
	if err == nil {
		return nil
	}
	e.err = err
	return handler.NewError("", "", http.StatusInternalServerError)
}

// store lets tusd store uploads.
type store struct{ core *resumable.Core }

// composer returns the store with all its abilities, for tusd.
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
	switch {
	case info.SizeIsDeferred:
		u.Length = resumable.Deferred
	case info.Size < 0: // for requests of the draft tusd does not check Upload-Length
		return nil, e.fail(fault.MalformedRequest("Upload-Length must not be negative.", nil))
	}
	var session *resumable.Session
	var err error
	if info.IsFinal {
		session, err = s.core.CreateFinal(ctx, u, e.partials)
	} else {
		session, err = s.core.Create(ctx, u)
	}
	if err != nil {
		return nil, e.fail(err)
	}
	e.session = session
	return &upload{core: s.core, session: session, exchange: e}, nil
}

// GetUpload implements handler.DataStore.
func (s store) GetUpload(ctx context.Context, id string) (handler.Upload, error) {
	e := exchangeOf(ctx)
	session, err := s.core.Find(ctx, principal.From(ctx).Owner, id)
	if err != nil {
		return nil, e.fail(err)
	}
	if e.request.PathValue("upload_id") == "" { // the request creates an upload: then tusd reads only those to be concatenated
		if !session.Partial {
			return nil, e.fail(resumable.NotPartial())
		}
		if slices.ContainsFunc(e.partials, func(p *resumable.Session) bool { return p.JobID == session.JobID }) {
			return nil, e.fail(resumable.NamedTwice())
		}
		e.partials = append(e.partials, session)
	}
	e.session = session
	if h := e.request.Header; h.Get("Upload-Length") == strconv.FormatInt(session.Length, 10) {
		h.Del("Upload-Length") // tusd refuses a repeated Upload-Length, which the draft allows
	}
	return &upload{core: s.core, session: session, exchange: e}, nil
}

// AsTerminatableUpload implements handler.TerminaterDataStore.
func (s store) AsTerminatableUpload(u handler.Upload) handler.TerminatableUpload {
	return u.(*upload) //nolint:forcetypeassert // the store makes only uploads of this type
}

// AsLengthDeclarableUpload implements handler.LengthDeferrerDataStore.
func (s store) AsLengthDeclarableUpload(u handler.Upload) handler.LengthDeclarableUpload {
	return u.(*upload) //nolint:forcetypeassert // as above
}

// AsConcatableUpload implements handler.ConcaterDataStore.
func (s store) AsConcatableUpload(u handler.Upload) handler.ConcatableUpload {
	return u.(*upload) //nolint:forcetypeassert // as above
}

// upload implements the upload of tusd during one request.
type upload struct {
	core     *resumable.Core
	session  *resumable.Session
	exchange *exchange
}

// GetInfo implements handler.Upload. It finishes an upload whose bytes have all arrived, so that no
// answer says that the upload is complete before its job has begun. It refuses bytes after the end,
// which tusd would ignore.
func (u *upload) GetInfo(ctx context.Context) (handler.FileInfo, error) {
	if err := u.FinishUpload(ctx); err != nil {
		return handler.FileInfo{}, err
	}
	s := u.session
	atEnd := u.exchange.request.Header.Get("Upload-Offset") == strconv.FormatInt(s.Length, 10)
	if s.Complete() && atEnd && u.exchange.hasBytes() {
		return handler.FileInfo{}, u.exchange.fail(fault.ExceedsLimit("upload", s.Length, nil))
	}
	if !s.Job {
		u.exchange.header.Set("Upload-Expires", s.Created.Add(u.exchange.expiry).UTC().Format(http.TimeFormat))
	}
	return handler.FileInfo{
		ID: s.JobID, Size: max(s.Length, 0), SizeIsDeferred: s.Length == resumable.Deferred, Offset: s.Offset,
		MetaData: s.Metadata, IsPartial: s.Partial,
	}, nil
}

// WriteChunk implements handler.Upload. If the request has more bytes than the upload lacks, it fails
// with fault.TooLarge, and the upload does not become complete.
func (u *upload) WriteChunk(ctx context.Context, offset int64, body io.Reader) (int64, error) {
	if offset != u.session.Offset {
		return 0, u.exchange.fail(resumable.OffsetMismatch())
	}
	size := u.exchange.request.ContentLength
	if size >= 0 && u.endsElsewhere(offset+size) {
		return 0, u.exchange.fail(inconsistentLength())
	}
	if length := u.session.Length; length != resumable.Deferred {
		body = &exact{Reader: body, request: u.exchange.body, room: length - offset, length: length}
	}
	n, err := u.core.Write(ctx, u.session, body, u.exchange.check)
	if err == nil && size < 0 && u.endsElsewhere(offset+n) {
		err = inconsistentLength()
	}
	return n, u.exchange.fail(err)
}

// endsElsewhere reports whether the request says that the recording ends at offset, but the known
// length is different. If such a request succeeded, the client would believe that the upload is
// complete.
func (u *upload) endsElsewhere(offset int64) bool {
	return u.exchange.ends() && u.session.Length != resumable.Deferred && u.session.Length != offset
}

func inconsistentLength() error {
	return fault.MalformedRequest("Upload-Complete says that the recording ends with this request, but that is not its length.", nil)
}

// FinishUpload implements handler.Upload.
func (u *upload) FinishUpload(ctx context.Context) error {
	if err := u.core.Finish(ctx, u.session); err != nil {
		return u.exchange.fail(err)
	}
	u.describeJob()
	return nil
}

// describeJob sets the headers that name the job, if the upload has become one.
func (u *upload) describeJob() {
	if u.session.Job {
		u.exchange.header.Set(jobHeader, u.session.JobID)
		u.exchange.header.Set("Link", "</tokens/analysis-result/"+u.session.JobID+`>; rel="related"`)
		u.exchange.header.Del("Upload-Expires")
	}
}

// DeclareLength implements handler.LengthDeclarableUpload.
func (u *upload) DeclareLength(ctx context.Context, length int64) error {
	return u.exchange.fail(u.core.Declare(ctx, u.session, length))
}

// Terminate implements handler.TerminatableUpload.
func (u *upload) Terminate(ctx context.Context) error {
	err := u.core.Abort(ctx, u.session)
	u.describeJob()
	return u.exchange.fail(err)
}

// ConcatUploads implements handler.ConcatableUpload.
func (u *upload) ConcatUploads(ctx context.Context, _ []handler.Upload) error {
	if err := u.core.Concat(ctx, u.session, u.exchange.partials); err != nil {
		return u.exchange.fail(err)
	}
	return u.FinishUpload(ctx) // sets the headers of a complete upload
}

// GetReader implements handler.Upload. It always fails, since no route returns the bytes of an
// upload.
func (u *upload) GetReader(context.Context) (io.ReadCloser, error) {
	return nil, u.exchange.fail(direct.NotFound())
}

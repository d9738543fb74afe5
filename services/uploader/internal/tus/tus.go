// Package tus serves resumable uploads with the handler of tusd: tus 1.0 and the draft of the IETF
// ("Resumable Uploads for HTTP"). The package adds the extensions checksum and expiration, and
// problem documents. Location has only a path, from which the gateway makes a URL.
package tus

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // tus requires sha1 for checksums
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/tus/tusd/v2/pkg/handler"
	"golang.org/x/exp/slog"

	"sori.internal/services/uploader/internal/direct"
	"sori.internal/services/uploader/internal/resumable"
	"sori.internal/shared/fault"
	"sori.internal/shared/httpd"
	"sori.internal/shared/principal"
	"sori.internal/shared/uploadrequest"
)

// jobHeader is the header with the id of the job that a complete upload has become.
const jobHeader = "Sori-Job"

// path is the path of the collection of uploads.
const path = "/uploads"

// maxMetadata is the largest length of Upload-Metadata in bytes, since the record of the upload
// contains it.
const maxMetadata = 4 << 10

// API serves requests.
type API struct {
	core     *resumable.Core
	verifier principal.Verifier
	tusd     http.Handler
}

// New makes the API.
func New(core *resumable.Core, v principal.Verifier) (*API, error) {
	h, err := handler.NewHandler(handler.Config{
		StoreComposer: store{core}.composer(), BasePath: path + "/", MaxSize: core.Direct.Options().MaxBytes,
		EnableExperimentalProtocol: true, DisableDownload: true,
		Cors:   &handler.CorsConfig{Disable: true}, // the gateway handles CORS
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		return nil, fmt.Errorf("configure tusd: %w", err)
	}
	return &API{core: core, verifier: v, tusd: http.StripPrefix(path, h)}, nil
}

// Routes adds the API's routes.
func (a *API) Routes(mux *httpd.Mux) {
	mux.Handle("OPTIONS "+path, a.options)
	mux.Handle("POST "+path, a.serve)
	for _, method := range []string{http.MethodHead, http.MethodPatch, http.MethodDelete, http.MethodPost} { // POST is for requests with X-HTTP-Method-Override
		mux.Handle(method+" "+path+"/{upload_id}", a.serve)
	}
}

// options answers OPTIONS with the versions and extensions of tus that are served. It needs no
// principal.
func (a *API) options(w http.ResponseWriter, r *http.Request) error {
	out := &answer{ResponseWriter: w}
	a.tusd.ServeHTTP(out, r)
	return nil
}

// serve authenticates a request, and serves it if the principal has the scope to upload.
func (a *API) serve(w http.ResponseWriter, r *http.Request) error {
	p, err := httpd.Authorize(w, r, a.verifier, principal.JobsWrite)
	if err != nil {
		return err
	}
	options := a.core.Direct.Options()
	e := &exchange{request: r, body: &counted{ReadCloser: r.Body}, header: w.Header(), expiry: options.Expiry, maxBytes: options.MaxBytes}
	r.Body = e.body
	if r.Header.Get(uploadrequest.Header) != "" {
		if e.description, err = uploadrequest.FromHeader(r.Header); err != nil {
			return fault.MalformedRequest("The request does not describe an upload.", err)
		}
	}
	if len(r.Header.Get("Upload-Metadata")) > maxMetadata {
		return fault.ValidationFailed(fault.Violation{Pointer: "Upload-Metadata", Detail: "must have at most 4096 bytes"})
	}
	if e.check, err = checksumOf(r.Header.Get("Upload-Checksum")); err != nil {
		return err
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		w.Header().Set("Accept-Encoding", "identity") // required by RFC 9110, section 15.5.16
		return encoded(encoding)
	}
	acceptMediaTypes(r.Header)
	w.Header().Set("Cache-Control", "no-store")
	out := &answer{ResponseWriter: w, hasBody: r.Method != http.MethodHead}
	ctx := context.WithValue(principal.With(r.Context(), p), exchangeKey{}, e)
	a.tusd.ServeHTTP(out, r.WithContext(ctx))
	return out.failure(e)
}

// acceptMediaTypes changes Content-Type and Content-Disposition so that tusd can parse them. Some
// phones send a file name in a form that tusd cannot parse, and tusd would refuse the upload. The
// uploader does not need these headers: it recognises a recording by its bytes, and gets its name
// from the gateway.
func acceptMediaTypes(h http.Header) {
	mediaType, _, _ := mime.ParseMediaType(h.Get("Content-Type")) //nolint:errcheck // on an error, mediaType has no parameters or is empty
	h.Set("Content-Type", mediaType)                              // tusd compares it in lower case and without parameters
	if _, _, err := mime.ParseMediaType(h.Get("Content-Disposition")); err != nil {
		h.Del("Content-Disposition")
	}
}

// answer is the ResponseWriter for tusd. If tusd refuses a request, answer sends nothing, so that a
// problem document can be sent instead.
type answer struct {
	http.ResponseWriter
	hasBody bool // false for HEAD, whose answer has the Content-Length of the recording
	refused int  // status with which tusd refuses the request; 0 if it does not
	text    bytes.Buffer
}

// Unwrap lets http.ResponseController reach the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// WriteHeader implements http.ResponseWriter. It shortens the URL in Location to its path.
func (a *answer) WriteHeader(status int) {
	h := a.Header()
	if _, id, ok := strings.Cut(h.Get("Location"), path+"/"); ok {
		h.Set("Location", path+"/"+id)
	}
	if a.hasBody || status >= http.StatusBadRequest {
		h.Del("Content-Length")
	}
	switch extensions := h.Get("Tus-Extension"); {
	case status >= http.StatusBadRequest:
		a.refused = status
	case extensions != "":
		h.Set("Tus-Extension", extensions+",checksum,expiration")
		h.Set("Tus-Checksum-Algorithm", algorithms)
		fallthrough
	default:
		a.ResponseWriter.WriteHeader(status)
	}
}

// Write implements http.ResponseWriter.
func (a *answer) Write(p []byte) (int, error) {
	if a.refused != 0 {
		return a.text.Write(p)
	}
	return a.ResponseWriter.Write(p) //nolint:wrapcheck // the contract of http.ResponseWriter
}

// failure returns the error with which a request is refused; nil if it is not refused.
func (a *answer) failure(e *exchange) error {
	if a.refused == 0 {
		return nil
	}
	h := a.Header()
	h.Del("Upload-Expires")
	err := e.err
	if err == nil {
		err = a.problem(e)
	}
	if e.session != nil && fault.As(err).Code == resumable.OffsetMismatch().Code {
		h.Set("Upload-Offset", strconv.FormatInt(e.session.Offset, 10)) // the draft requires it
	}
	return err
}

// problem returns the error for the reason why tusd refuses a request.
func (a *answer) problem(e *exchange) error {
	if h := a.Header(); a.refused == http.StatusMethodNotAllowed {
		h.Set("Allow", strings.TrimPrefix(h.Get("Allow"), "GET, "))
		return fault.WrongMethod()
	}
	code, _, _ := strings.Cut(a.text.String(), ":")
	switch code {
	case handler.ErrMismatchOffset.ErrorCode:
		return resumable.OffsetMismatch()
	case handler.ErrInvalidContentType.ErrorCode:
		return fault.New(fault.Unsupported, "wrong-content-type",
			"The bytes of an upload need the header Content-Type: application/offset+octet-stream, or application/partial-upload in the draft of the IETF.")
	case handler.ErrUnsupportedVersion.ErrorCode:
		a.Header().Set("Tus-Version", "1.0.0")
		return fault.New(fault.PreconditionFailed, "unsupported-tus-version",
			"This server speaks tus 1.0.0 (header Tus-Resumable), and the draft of the IETF in the versions 3 to 6 (header Upload-Draft-Interop-Version).")
	case handler.ErrMaxSizeExceeded.ErrorCode:
		return fault.ExceedsLimit("upload", e.maxBytes, nil)
	case handler.ErrSizeExceeded.ErrorCode:
		return fault.ExceedsLimit("upload", e.limit(), nil)
	case handler.ErrInvalidUploadLength.ErrorCode:
		if n, err := strconv.ParseInt(e.request.Header.Get("Upload-Length"), 10, 64); err == nil && n > e.maxBytes {
			return fault.ExceedsLimit("upload", e.maxBytes, nil)
		}
		return protocolBroken(code)
	case handler.ErrNotFound.ErrorCode:
		return direct.NotFound()
	case handler.ErrUploadNotFinished.ErrorCode:
		return resumable.NotFinished()
	case handler.ErrUnexpectedEOF.ErrorCode, handler.ErrConnectionReset.ErrorCode, handler.ErrReadTimeout.ErrorCode:
		return fault.BodyTruncated(fmt.Errorf("%s", code)) //nolint:err113 // for the log
	default:
		return protocolBroken(strings.TrimSpace(a.text.String()))
	}
}

// protocolBroken returns the error for a request that tusd refuses for the given reason.
func protocolBroken(reason string) error {
	return fault.MalformedRequest("The request breaks the protocol of resumable uploads.", fmt.Errorf("tusd: %s", reason)) //nolint:err113 // for the log
}

// algorithms are those of checksums.
const algorithms = "sha1,sha256,crc32"

// checksumOf parses the header Upload-Checksum, which is an algorithm and a checksum in base64. It
// returns nil if the header is empty.
func checksumOf(text string) (*resumable.Checksum, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // the request has no checksum
	}
	name, given, _ := strings.Cut(text, " ")
	var sum hash.Hash
	switch name {
	case "sha1":
		sum = sha1.New() //nolint:gosec // as above
	case "sha256":
		sum = sha256.New()
	case "crc32":
		sum = crc32.NewIEEE()
	default:
		return nil, malformedChecksum(nil)
	}
	want, err := base64.StdEncoding.DecodeString(given)
	if err != nil || len(want) != sum.Size() {
		return nil, malformedChecksum(err)
	}
	return &resumable.Checksum{Hash: sum, Want: want}, nil
}

// encoded returns the error for a request with a Content-Encoding. It cannot be accepted, because
// the requests of an upload could have different encodings.
func encoded(encoding string) error {
	return &fault.Error{
		Kind: fault.Unsupported, Code: "unsupported-encoding", Extra: map[string]any{"encoding": encoding},
		Detail: "The upload has a Content-Encoding. Send it without one.",
	}
}

func malformedChecksum(cause error) error {
	return fault.MalformedRequest("Upload-Checksum must be sha1, sha256 or crc32, and a checksum in base64.", cause)
}

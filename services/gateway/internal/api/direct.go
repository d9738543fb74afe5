package api

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/gofiber/fiber/v2"
	"github.com/rs/zerolog"

	"sori.internal/services/gateway/internal/httpserver"
	"sori.internal/services/gateway/internal/upload"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
	"sori.internal/shared/principal"
	"sori.internal/shared/uploadrequest"
)

// DirectUploads admits uploads that do not go through staging.
type DirectUploads interface {
	// Admit returns the reference files of a token. It fails if an owner may not upload to the
	// token. size is the size in bytes as far as it is known, at least 1.
	Admit(ctx context.Context, owner string, token, size int64) (upload.References, error)

	// AdmitPartial is Admit for an upload that names no token.
	AdmitPartial(ctx context.Context, owner string, size int64) error
}

// unknownSize is the size of an upload whose size is not known.
const unknownSize = 1

// directUploads has the routes on which a client begins an upload to the bucket. The uploader
// answers the requests: it gets the description of the upload in a header (package uploadrequest),
// and not the body of the request.
type directUploads struct {
	core     DirectUploads
	timeouts httpserver.BodyLimits
	forward  func(c *fiber.Ctx, header http.Header) error
}

// directRequest is the body of a request that begins an upload, in the format of Uppy.
type directRequest struct {
	FileName string `json:"filename"`
	Metadata struct {
		TokenID json.RawMessage `json:"token_id"` // a number, also as a string: Uppy sends both
		SHA256  string          `json:"sha256"`
	} `json:"metadata"`
}

// begin begins a multipart upload: POST /s3/multipart.
func (h directUploads) begin(c *fiber.Ctx) error {
	text, err := jsonBody(c, h.timeouts)
	if err != nil {
		return err
	}
	var r directRequest
	if err := json.Unmarshal(text, &r); err != nil {
		return fault.UndecodedBody(err)
	}
	return h.describe(c, r, unknownSize)
}

// form begins an upload whose bytes the client sends to S3 in one request: GET /s3/params.
func (h directUploads) form(c *fiber.Ctx) error {
	var r directRequest
	r.FileName, r.Metadata.SHA256 = c.Query("filename"), c.Query("metadata[sha256]")
	r.Metadata.TokenID = json.RawMessage(c.Query("metadata[token_id]"))
	return h.describe(c, r, unknownSize)
}

// describe checks the request for an upload and forwards it to the uploader, with a description of
// the upload in a header. size is the size of the upload in bytes as far as it is known.
func (h directUploads) describe(c *fiber.Ctx, r directRequest, size int64) error {
	token, err := r.token()
	if err != nil {
		return err
	}
	if sum, err := hex.DecodeString(r.Metadata.SHA256); err != nil || len(sum) != 0 && len(sum) != 32 {
		return fault.ValidationFailed(fault.Violation{Pointer: "metadata/sha256", Detail: "must have 64 hexadecimal digits"})
	}
	references, err := h.core.Admit(c.UserContext(), principal.From(c.UserContext()).Owner, token, size)
	if err != nil {
		return err
	}
	zerolog.Ctx(c.UserContext()).UpdateContext(func(l zerolog.Context) zerolog.Context { return l.Int64(logging.TokenID, token) })
	header, err := uploadrequest.Description{
		TokenID: token, TextGridURL: references.TextGridURL, PitchURL: references.PitchURL,
		FileName: upload.CleanName(r.FileName), SHA256: r.Metadata.SHA256,
		Fresh: wantsFresh(headerValue(c, fiber.HeaderCacheControl)),
	}.Encode()
	if err != nil {
		return err
	}
	return h.forward(c, http.Header{uploadrequest.Header: {header}})
}

// token returns the token that an upload names.
func (r directRequest) token() (int64, error) {
	text := string(r.Metadata.TokenID)
	var quoted string
	if json.Unmarshal(r.Metadata.TokenID, &quoted) == nil {
		text = quoted
	}
	token, err := strconv.ParseInt(text, 10, 64)
	if err != nil || token < 1 {
		return 0, fault.ValidationFailed(fault.Violation{Pointer: "metadata/token_id", Detail: "must be the id of a token"})
	}
	return token, nil
}

package api

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"sori.internal/services/gateway/internal/httpserver"
	"sori.internal/shared/principal"
)

// resumableUploads has the routes of resumable uploads whose requests have bytes of a recording.
// The uploader answers these requests.
type resumableUploads struct{ directUploads }

// create begins an upload, perhaps with its first bytes: POST /uploads. The upload is described by
// Upload-Metadata (tus 1.0) or by the query (the draft of the IETF, which has no metadata). A partial
// upload becomes no job, and so needs no description.
func (h resumableUploads) create(c *fiber.Ctx) error {
	size := declaredSize(c)
	if c.Get("Upload-Concat") == "partial" {
		if err := h.core.AdmitPartial(c.UserContext(), principal.From(c.UserContext()).Owner, size); err != nil {
			return err
		}
		return h.write(c)
	}
	said := metadata(c.Get("Upload-Metadata"))
	for _, name := range []string{"token_id", "filename", "sha256"} {
		if text := c.Query(name); text != "" {
			said[name] = text
		}
	}
	var r directRequest
	r.FileName, r.Metadata.SHA256, r.Metadata.TokenID = said["filename"], said["sha256"], json.RawMessage(said["token_id"])
	return h.describe(c, r, size)
}

// declaredSize returns the size of an upload as far as the request that begins it declares it: by
// Upload-Length, or by the length of the bytes that it has.
func declaredSize(c *fiber.Ctx) int64 {
	length, err := strconv.ParseInt(c.Get("Upload-Length"), 10, 64)
	if err != nil { // absent or malformed, which the uploader refuses
		length = 0
	}
	return max(length, httpserver.DeclaredLength(c), unknownSize)
}

// write appends bytes: PATCH /uploads/{upload_id}.
func (h resumableUploads) write(c *fiber.Ctx) error { return h.forward(c, nil) }

// metadata reads Upload-Metadata: names, each with a value in base64, separated by commas.
func metadata(header string) map[string]string {
	all := map[string]string{}
	for pair := range strings.SplitSeq(header, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), " ")
		if text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value)); err == nil {
			all[name] = string(text)
		}
	}
	return all
}

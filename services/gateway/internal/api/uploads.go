package api

import (
	"context"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/rs/zerolog"

	"sori.internal/services/gateway/internal/httpserver"
	"sori.internal/services/gateway/internal/upload"
	"sori.internal/shared/locale"
	"sori.internal/shared/logging"
	"sori.internal/shared/principal"
)

// Uploads accepts recordings.
type Uploads interface {
	Accept(ctx context.Context, r upload.Request) (upload.Accepted, error)
	AcceptSource(ctx context.Context, r upload.AnalyzeRequest) (upload.Accepted, error)
	// References returns the reference files of a token.
	References(ctx context.Context, token int64) (upload.References, error)
}

type uploads struct {
	core     Uploads
	timeouts httpserver.BodyLimits
	maxBody  int64
	language locale.Language
	results  CachedResults
}

// tokenInfo is the token in the answer to an upload.
type tokenInfo struct {
	ID          int64   `json:"id"`
	TextGridURL *string `json:"s3_textgrid_url"`
	PitchURL    *string `json:"s3_pitch_url"`
}

// accepted is the answer to an upload.
type accepted struct {
	Message   string    `json:"message"`
	JobID     string    `json:"job_id"`
	Status    string    `json:"status"`
	TokenInfo tokenInfo `json:"token_info"`
}

// create accepts a recording: POST /tokens/{token_id}/upload-audio.
func (u uploads) create(c *fiber.Ctx) error {
	id, err := pathID(c, "token_id")
	if err != nil {
		return err
	}
	if job := httpserver.EarlyAnswer(c); job != "" {
		return sendCached(c.Status(fiber.StatusSeeOther), job)
	}
	b := httpserver.NewBody(c, u.maxBody, u.timeouts)
	done, err := u.core.Accept(c.UserContext(), upload.Request{
		TokenID: id, Owner: principal.From(c.UserContext()).Owner, ContentType: c.Get(fiber.HeaderContentType),
		ContentDigest: headerValue(c, "Content-Digest"), ReprDigest: headerValue(c, "Repr-Digest"),
		ContentEncoding: headerValue(c, fiber.HeaderContentEncoding), ContentRange: headerValue(c, fiber.HeaderContentRange),
		UploadLength: headerValue(c, "Upload-Length"), Length: b.Length(), Body: b, IdempotencyKey: headerLines(c, "Idempotency-Key"),
		Fresh: wantsFresh(headerValue(c, fiber.HeaderCacheControl)),
	})
	if upload.IsEncoded(err) {
		c.Set(fiber.HeaderAcceptEncoding, "identity") // RFC 9110, section 15.5.16
	}
	if err != nil {
		return err
	}
	return u.answer(c, id, done)
}

// analyze accepts a recording that is fetched from a URL: POST /tokens/{token_id}/analyze.
func (u uploads) analyze(c *fiber.Ctx) error {
	id, err := pathID(c, "token_id")
	if err != nil {
		return err
	}
	body, err := jsonBody(c, u.timeouts)
	if err != nil {
		return err
	}
	done, err := u.core.AcceptSource(c.UserContext(), upload.AnalyzeRequest{
		TokenID: id, Owner: principal.From(c.UserContext()).Owner, Body: body, IdempotencyKey: headerLines(c, "Idempotency-Key"),
		Fresh: wantsFresh(headerValue(c, fiber.HeaderCacheControl)),
	})
	if err != nil {
		return err
	}
	return u.answer(c, id, done)
}

// answer answers an accepted request.
func (u uploads) answer(c *fiber.Ctx, id int64, done upload.Accepted) error {
	zerolog.Ctx(c.UserContext()).UpdateContext(func(l zerolog.Context) zerolog.Context {
		return l.Str(logging.JobID, done.JobID).Int64(logging.TokenID, id)
	})
	language := locale.Choose(c.Get(fiber.HeaderAcceptLanguage), u.language)
	if done.Replayed {
		c.Set("Idempotency-Replayed", "true")
		zerolog.Ctx(c.UserContext()).UpdateContext(func(l zerolog.Context) zerolog.Context { return l.Str(logging.Outcome, "replayed") })
	}
	c.Set(fiber.HeaderLocation, "/tokens/analysis-result/"+done.JobID)
	c.Set(fiber.HeaderContentLanguage, string(language))
	c.Vary(fiber.HeaderAcceptLanguage)
	return c.Status(fiber.StatusAccepted).JSON(accepted{
		Message: locale.Text(language, locale.Accepted), JobID: done.JobID, Status: "processing",
		TokenInfo: tokenInfo{ID: id, TextGridURL: orNull(done.References.TextGridURL), PitchURL: orNull(done.References.PitchURL)},
	})
}

// wantsFresh reports whether a Cache-Control header of a request excludes cached results (RFC 9111,
// section 5.2.1).
func wantsFresh(cacheControl string) bool {
	for directive := range strings.SplitSeq(cacheControl, ",") {
		switch strings.ToLower(strings.TrimSpace(directive)) {
		case "no-cache", "no-store":
			return true
		}
	}
	return false
}

// headerValue joins the lines of a header (RFC 9110, section 5.3).
func headerValue(c *fiber.Ctx, name string) string { return strings.Join(headerLines(c, name), ", ") }

// headerLines returns the lines of a header.
func headerLines(c *fiber.Ctx, name string) []string {
	var all []string
	for _, line := range c.Request().Header.PeekAll(name) {
		all = append(all, string(line))
	}
	return all
}

// orNull returns nil, which is null in JSON, for an empty string.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

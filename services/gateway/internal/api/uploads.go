package api

import (
	"context"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/rs/zerolog"

	"sori.internal/services/gateway/internal/upload"
	"sori.internal/shared/locale"
	"sori.internal/shared/logging"
)

// Uploads accepts recordings.
type Uploads interface {
	Accept(ctx context.Context, r upload.Request) (upload.Accepted, error)
}

type uploads struct {
	core     Uploads
	pace     Pace
	maxBody  int64
	language locale.Language
}

// tokenInfo is what an accepted upload tells of its token.
type tokenInfo struct {
	ID          int64   `json:"id"`
	TextGridURL *string `json:"s3_textgrid_url"`
	PitchURL    *string `json:"s3_pitch_url"`
}

type accepted struct {
	Message   string    `json:"message"`
	JobID     string    `json:"job_id"`
	Status    string    `json:"status"`
	TokenInfo tokenInfo `json:"token_info"`
}

// create takes a recording: POST /tokens/{token_id}/upload-audio.
func (u uploads) create(c *fiber.Ctx) error {
	id, err := positive(c, "token_id")
	if err != nil {
		return err
	}
	b := newBody(c, u.maxBody, u.pace)
	done, err := u.core.Accept(c.UserContext(), upload.Request{
		TokenID: id, ContentType: c.Get(fiber.HeaderContentType), ContentDigest: lines(c, "Content-Digest"),
		ContentEncoding: lines(c, fiber.HeaderContentEncoding), Length: b.length, Body: b, IdempotencyKey: every(c, "Idempotency-Key"),
	})
	if err != nil {
		return err
	}
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

// lines joins a header's lines, as RFC 9110, section 5.3 has it.
func lines(c *fiber.Ctx, name string) string { return strings.Join(every(c, name), ", ") }

// every is a header's lines, none where it is absent.
func every(c *fiber.Ctx, name string) []string {
	var all []string
	for _, line := range c.Request().Header.PeekAll(name) {
		all = append(all, string(line))
	}
	return all
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

package api

import (
	"context"
	"encoding/json"

	"github.com/gofiber/fiber/v2"

	"sori.internal/services/gateway/internal/catalogue"
	"sori.internal/services/gateway/internal/httpserver"
)

// TokenReader finds tokens.
type TokenReader interface {
	Tokens(ctx context.Context, f catalogue.Filter, p catalogue.Page) (catalogue.List[catalogue.Token], error)
}

// TokenWriter changes tokens.
type TokenWriter interface {
	CreateToken(ctx context.Context, t catalogue.Token) (catalogue.Token, error)
	ReplaceToken(ctx context.Context, t catalogue.Token, m catalogue.Match) (catalogue.Token, error)
	DeleteToken(ctx context.Context, id int64, m catalogue.Match) error
}

// TokenStore stores tokens.
type TokenStore interface {
	TokenReader
	TokenWriter
}

// TokenDetails finds tokens with the objects that their references name.
type TokenDetails interface {
	Detail(ctx context.Context, id int64) (catalogue.Detail, error)
}

// References checks references.
type References interface {
	// CheckReference returns an error with the reason if a reference is not allowed.
	CheckReference(ref string) error
}

// tokenBody is a token as clients see it.
type tokenBody struct {
	ID          int64        `json:"id"`
	Name        string       `json:"token_name"`
	Actor       string       `json:"actor_name"`
	Category    *string      `json:"category"`
	Start       float64      `json:"start_time"`
	End         float64      `json:"end_time"`
	TextGridURL *string      `json:"s3_textgrid_url"`
	PitchURL    *string      `json:"s3_pitch_url"`
	BGVoiceURL  *string      `json:"s3_bgvoice_url"`
	YouTubeURL  *string      `json:"youtube_url"`
	Scripts     []scriptBody `json:"scripts"`

	// ScriptsTruncated reports whether the token has further scripts, at /scripts/token/{id}.
	ScriptsTruncated bool `json:"scripts_truncated"`
}

func tokenBodyOf(t catalogue.Token) tokenBody {
	scripts := make([]scriptBody, len(t.Scripts))
	for i, s := range t.Scripts {
		scripts[i] = scriptBodyOf(s)
	}
	return tokenBody{
		ID: t.ID, Name: t.Name, Actor: t.Actor, Category: t.Category, Start: t.Start, End: t.End,
		TextGridURL: t.TextGridURL, PitchURL: t.PitchURL, BGVoiceURL: t.BGVoiceURL, YouTubeURL: t.YouTubeURL,
		Scripts: scripts, ScriptsTruncated: t.ScriptsTruncated,
	}
}

// detailBody is a token with the objects that its references name.
type detailBody struct {
	tokenBody
	Pitch       json.RawMessage `json:"pitch"`
	BGVoiceLink *string         `json:"bgvoice_url"`
}

type tokens struct {
	resource[catalogue.Token]
	reader  TokenReader
	details TokenDetails
}

func newTokens(store TokenStore, details TokenDetails, references References, t httpserver.BodyLimits) tokens {
	return tokens{reader: store, details: details, resource: resource[catalogue.Token]{
		name: "Token", path: "/tokens", timeouts: t,
		decode: func(body []byte) (catalogue.Token, error) {
			return catalogue.DecodeToken(body, references.CheckReference)
		},
		store: storage[catalogue.Token]{create: store.CreateToken, replace: store.ReplaceToken, remove: store.DeleteToken},
		setID: func(t *catalogue.Token, id int64) { t.ID = id },
		render: func(t catalogue.Token) representation {
			return representation{id: t.ID, etag: entityTag(t.Version, ""), body: tokenBodyOf(t)}
		},
	}}
}

func (h tokens) list(c *fiber.Ctx) error {
	q := newParams(c)
	f := catalogue.Filter{
		Category: q.name("category"), Actor: q.name("actor_name"), Search: q.name("q"),
		WithoutScripts: q.excludesEntries("scripts"),
	}
	return list(q, func(ctx context.Context, p catalogue.Page) (catalogue.List[catalogue.Token], error) {
		return h.reader.Tokens(ctx, f, p)
	}, tokenBodyOf)
}

// get answers with the detail of a token. The other handlers answer with the token only.
func (h tokens) get(c *fiber.Ctx) error {
	id, err := pathID(c, "id")
	if err != nil {
		return err
	}
	d, err := h.details.Detail(c.UserContext(), id)
	if err != nil {
		return err
	}
	if d.Memory != nil { // nil if the token has no pitch; WhenSent would needlessly turn the answer into a stream
		defer httpserver.WhenSent(c, d.Memory.Release)
	}
	return sendConditional(c, representation{etag: entityTag(d.Version, d.Digest), body: detailBody{
		tokenBody: tokenBodyOf(d.Token), Pitch: d.Pitch, BGVoiceLink: d.BGVoice,
	}})
}

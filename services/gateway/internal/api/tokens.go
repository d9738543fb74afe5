package api

import (
	"context"
	"encoding/json"

	"github.com/gofiber/fiber/v2"

	"sori.internal/services/gateway/internal/catalogue"
)

// TokenReader finds tokens.
type TokenReader interface {
	Token(ctx context.Context, id int64) (catalogue.Token, error)
	Tokens(ctx context.Context, f catalogue.Filter, p catalogue.Page) ([]catalogue.Token, error)
}

// TokenWriter changes tokens.
type TokenWriter interface {
	CreateToken(ctx context.Context, t catalogue.Token) (catalogue.Token, error)
	ReplaceToken(ctx context.Context, t catalogue.Token, m catalogue.Match) (catalogue.Token, error)
	DeleteToken(ctx context.Context, id int64, m catalogue.Match) error
}

// TokenStore keeps the tokens.
type TokenStore interface {
	TokenReader
	TokenWriter
}

// TokenDetails makes the details of tokens.
type TokenDetails interface {
	Detail(ctx context.Context, id int64) (catalogue.Detail, error)
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
}

func bodyOf(t catalogue.Token) tokenBody {
	scripts := make([]scriptBody, len(t.Scripts))
	for i, s := range t.Scripts {
		scripts[i] = scriptBodyOf(s)
	}
	return tokenBody{
		ID: t.ID, Name: t.Name, Actor: t.Actor, Category: t.Category, Start: t.Start, End: t.End,
		TextGridURL: t.TextGridURL, PitchURL: t.PitchURL, BGVoiceURL: t.BGVoiceURL, YouTubeURL: t.YouTubeURL,
		Scripts: scripts,
	}
}

// detailBody is a token with what its references name.
type detailBody struct {
	tokenBody
	Pitch       json.RawMessage `json:"pitch"`
	BGVoiceLink *string         `json:"bgvoice_url"`
}

type tokens struct {
	entries[catalogue.Token]
	reader  TokenReader
	details TokenDetails
}

func newTokens(store TokenStore, details TokenDetails, p Pace) tokens {
	return tokens{reader: store, details: details, entries: entries[catalogue.Token]{
		kind: "Token", path: "/tokens", pace: p, decode: catalogue.DecodeToken,
		create: store.CreateToken, replace: store.ReplaceToken, remove: store.DeleteToken,
		identify: func(t *catalogue.Token, id int64) { t.ID = id },
		show: func(t catalogue.Token) view {
			return view{id: t.ID, tag: entityTag(t.Version, ""), body: bodyOf(t)}
		},
	}}
}

func (h tokens) list(c *fiber.Ctx) error {
	q := &query{c: c}
	f := catalogue.Filter{Category: q.name("category"), Actor: q.name("actor_name"), Search: q.name("q")}
	return list(q, q.page(), func(ctx context.Context, p catalogue.Page) ([]catalogue.Token, error) {
		return h.reader.Tokens(ctx, f, p)
	}, bodyOf)
}

// get answers with the detail, which is more than the other verbs take and give.
func (h tokens) get(c *fiber.Ctx) error {
	id, err := positive(c, "id")
	if err != nil {
		return err
	}
	d, err := h.details.Detail(c.UserContext(), id)
	if err != nil {
		return err
	}
	return answerOnce(c, view{tag: entityTag(d.Version, d.Mark), body: detailBody{
		tokenBody: bodyOf(d.Token), Pitch: d.Pitch, BGVoiceLink: d.BGVoice,
	}})
}

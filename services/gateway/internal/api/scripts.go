package api

import (
	"context"

	"github.com/gofiber/fiber/v2"

	"sori.internal/services/gateway/internal/catalogue"
	"sori.internal/services/gateway/internal/httpserver"
)

// ScriptReader finds scripts.
type ScriptReader interface {
	Script(ctx context.Context, id int64) (catalogue.Script, error)
	Scripts(ctx context.Context, p catalogue.Page) (catalogue.List[catalogue.Script], error)
	TokenScripts(ctx context.Context, token int64, p catalogue.Page) (catalogue.List[catalogue.Script], error)
}

// ScriptWriter changes scripts.
type ScriptWriter interface {
	CreateScript(ctx context.Context, s catalogue.Script) (catalogue.Script, error)
	ReplaceScript(ctx context.Context, s catalogue.Script, m catalogue.Match) (catalogue.Script, error)
	DeleteScript(ctx context.Context, id int64, m catalogue.Match) error
}

// ScriptStore stores scripts.
type ScriptStore interface {
	ScriptReader
	ScriptWriter
}

// scriptBody is a script as clients see it.
type scriptBody struct {
	ID          int64   `json:"id"`
	Token       int64   `json:"token_id"`
	Start       float64 `json:"start_time"`
	End         float64 `json:"end_time"`
	Text        string  `json:"script"`
	Translation *string `json:"translation"`
}

func scriptBodyOf(s catalogue.Script) scriptBody {
	return scriptBody{ID: s.ID, Token: s.Token, Start: s.Start, End: s.End, Text: s.Text, Translation: s.Translation}
}

type scripts struct {
	resource[catalogue.Script]
	reader ScriptReader
}

func newScripts(store ScriptStore, t httpserver.BodyLimits) scripts {
	return scripts{reader: store, resource: resource[catalogue.Script]{
		name: "Script", path: "/scripts", timeouts: t, decode: catalogue.DecodeScript,
		store: storage[catalogue.Script]{create: store.CreateScript, find: store.Script, replace: store.ReplaceScript, remove: store.DeleteScript},
		setID: func(s *catalogue.Script, id int64) { s.ID = id },
		render: func(s catalogue.Script) representation {
			return representation{id: s.ID, etag: entityTag(s.Version, ""), body: scriptBodyOf(s)}
		},
	}}
}

func (h scripts) list(c *fiber.Ctx) error {
	q := newParams(c)
	return list(q, h.reader.Scripts, scriptBodyOf)
}

func (h scripts) listOfToken(c *fiber.Ctx) error {
	id, err := pathID(c, "token_id")
	if err != nil {
		return err
	}
	q := newParams(c)
	return list(q, func(ctx context.Context, p catalogue.Page) (catalogue.List[catalogue.Script], error) {
		return h.reader.TokenScripts(ctx, id, p)
	}, scriptBodyOf)
}

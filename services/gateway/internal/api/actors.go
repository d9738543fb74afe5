package api

import (
	"context"

	"github.com/gofiber/fiber/v2"

	"sori.internal/services/gateway/internal/catalogue"
	"sori.internal/services/gateway/internal/httpserver"
)

// ActorReader finds actors and their tokens.
type ActorReader interface {
	Actor(ctx context.Context, id int64) (catalogue.Actor, error)
	Actors(ctx context.Context, part string, p catalogue.Page) (catalogue.List[catalogue.Actor], error)
	ActorTokens(ctx context.Context, id int64, p catalogue.Page) (catalogue.List[catalogue.Token], error)
}

// ActorWriter changes actors.
type ActorWriter interface {
	CreateActor(ctx context.Context, a catalogue.Actor) (catalogue.Actor, error)
	ReplaceActor(ctx context.Context, a catalogue.Actor, m catalogue.Match) (catalogue.Actor, error)
	DeleteActor(ctx context.Context, id int64, m catalogue.Match) error
}

// ActorStore stores actors.
type ActorStore interface {
	ActorReader
	ActorWriter
}

// actorBody is an actor as clients see it.
type actorBody struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

func actorBodyOf(a catalogue.Actor) actorBody { return actorBody{ID: a.ID, Name: a.Name} }

type actors struct {
	resource[catalogue.Actor]
	reader ActorReader
}

func newActors(store ActorStore, t httpserver.BodyLimits) actors {
	return actors{reader: store, resource: resource[catalogue.Actor]{
		name: "Actor", path: "/actors", timeouts: t, decode: catalogue.DecodeActor,
		store: storage[catalogue.Actor]{create: store.CreateActor, find: store.Actor, replace: store.ReplaceActor, remove: store.DeleteActor},
		setID: func(a *catalogue.Actor, id int64) { a.ID = id },
		render: func(a catalogue.Actor) representation {
			return representation{id: a.ID, etag: entityTag(a.Version, ""), body: actorBodyOf(a)}
		},
	}}
}

func (h actors) list(c *fiber.Ctx) error { return h.listByName(newParams(c), "") }

func (h actors) search(c *fiber.Ctx) error {
	q := newParams(c)
	return h.listByName(q, q.pathName("name"))
}

func (h actors) listByName(q *params, part string) error {
	return list(q, func(ctx context.Context, p catalogue.Page) (catalogue.List[catalogue.Actor], error) {
		return h.reader.Actors(ctx, part, p)
	}, actorBodyOf)
}

func (h actors) listTokens(c *fiber.Ctx) error {
	id, err := pathID(c, "id")
	if err != nil {
		return err
	}
	q := newParams(c)
	return list(q, func(ctx context.Context, p catalogue.Page) (catalogue.List[catalogue.Token], error) {
		return h.reader.ActorTokens(ctx, id, p)
	}, tokenBodyOf)
}

package api

import (
	"context"

	"github.com/gofiber/fiber/v2"

	"sori.internal/services/gateway/internal/catalogue"
)

// ActorReader finds actors and their tokens.
type ActorReader interface {
	Actor(ctx context.Context, id int64) (catalogue.Actor, error)
	Actors(ctx context.Context, part string, p catalogue.Page) ([]catalogue.Actor, error)
	ActorTokens(ctx context.Context, id int64, p catalogue.Page) ([]catalogue.Token, error)
}

// ActorWriter changes actors.
type ActorWriter interface {
	CreateActor(ctx context.Context, a catalogue.Actor) (catalogue.Actor, error)
	ReplaceActor(ctx context.Context, a catalogue.Actor, m catalogue.Match) (catalogue.Actor, error)
	DeleteActor(ctx context.Context, id int64, m catalogue.Match) error
}

// ActorStore keeps the actors.
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
	entries[catalogue.Actor]
	reader ActorReader
}

func newActors(store ActorStore, p Pace) actors {
	return actors{reader: store, entries: entries[catalogue.Actor]{
		kind: "Actor", path: "/actors", pace: p, decode: catalogue.DecodeActor,
		create: store.CreateActor, find: store.Actor, replace: store.ReplaceActor, remove: store.DeleteActor,
		identify: func(a *catalogue.Actor, id int64) { a.ID = id },
		show: func(a catalogue.Actor) view {
			return view{id: a.ID, tag: entityTag(a.Version, ""), body: actorBodyOf(a)}
		},
	}}
}

func (h actors) list(c *fiber.Ctx) error { return h.named(&query{c: c}, "") }

func (h actors) search(c *fiber.Ctx) error {
	q := &query{c: c}
	return h.named(q, q.segment("name"))
}

func (h actors) named(q *query, part string) error {
	return list(q, q.page(), func(ctx context.Context, p catalogue.Page) ([]catalogue.Actor, error) {
		return h.reader.Actors(ctx, part, p)
	}, actorBodyOf)
}

func (h actors) tokens(c *fiber.Ctx) error {
	id, err := positive(c, "id")
	if err != nil {
		return err
	}
	q := &query{c: c}
	return list(q, q.page(), func(ctx context.Context, p catalogue.Page) ([]catalogue.Token, error) {
		return h.reader.ActorTokens(ctx, id, p)
	}, bodyOf)
}

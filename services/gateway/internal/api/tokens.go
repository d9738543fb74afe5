package api

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/gofiber/fiber/v2"

	"sori.internal/services/gateway/internal/catalogue"
	"sori.internal/shared/fault"
)

// maxJSON bounds a JSON body, in bytes.
const maxJSON = 1 << 20

// TokenReader finds tokens.
type TokenReader interface {
	Token(ctx context.Context, id int64) (catalogue.Token, error)
	Tokens(ctx context.Context, f catalogue.Filter) ([]catalogue.Token, error)
}

// TokenWriter changes tokens.
type TokenWriter interface {
	CreateToken(ctx context.Context, t catalogue.Token) (catalogue.Token, error)
	ReplaceToken(ctx context.Context, t catalogue.Token) error
	DeleteToken(ctx context.Context, id int64) error
}

// TokenStore keeps the tokens.
type TokenStore interface {
	TokenReader
	TokenWriter
}

type tokens struct {
	store TokenStore
	pace  Pace
}

// tokenBody is a token as clients see it.
type tokenBody struct {
	ID          int64      `json:"id"`
	Name        string     `json:"token_name"`
	Actor       string     `json:"actor_name"`
	Category    *string    `json:"category"`
	Start       float64    `json:"start_time"`
	End         float64    `json:"end_time"`
	TextGridURL *string    `json:"s3_textgrid_url"`
	PitchURL    *string    `json:"s3_pitch_url"`
	BGVoiceURL  *string    `json:"s3_bgvoice_url"`
	YouTubeURL  *string    `json:"youtube_url"`
	Scripts     []struct{} `json:"scripts"`
}

func bodyOf(t catalogue.Token) tokenBody {
	return tokenBody{
		ID: t.ID, Name: t.Name, Actor: t.Actor, Category: t.Category, Start: t.Start, End: t.End,
		TextGridURL: t.TextGridURL, PitchURL: t.PitchURL, BGVoiceURL: t.BGVoiceURL, YouTubeURL: t.YouTubeURL,
		Scripts: []struct{}{},
	}
}

// given reads a token out of the request's body.
func (h tokens) given(c *fiber.Ctx) (catalogue.Token, error) {
	text, err := io.ReadAll(newBody(c, maxJSON, h.pace))
	if err != nil {
		return catalogue.Token{}, fmt.Errorf("read token: %w", err)
	}
	return catalogue.DecodeToken(text)
}

func (h tokens) create(c *fiber.Ctx) error {
	t, err := h.given(c)
	if err != nil {
		return err
	}
	if t, err = h.store.CreateToken(c.UserContext(), t); err != nil {
		return err
	}
	c.Set(fiber.HeaderLocation, fmt.Sprintf("/tokens/%d", t.ID))
	return c.Status(fiber.StatusCreated).JSON(bodyOf(t))
}

func (h tokens) list(c *fiber.Ctx) error {
	f := catalogue.Filter{Category: c.Query("category"), Actor: c.Query("actor_name"), Search: c.Query("q")}
	var broken []fault.Violation
	f.Skip = number(c, "skip", 0, 0, 1<<53, &broken)
	f.Limit = number(c, "limit", 100, 1, 500, &broken)
	if len(broken) > 0 {
		return catalogue.Invalid(broken...)
	}
	found, err := h.store.Tokens(c.UserContext(), f)
	if err != nil {
		return err
	}
	list := make([]tokenBody, len(found))
	for i, t := range found {
		list[i] = bodyOf(t)
	}
	return c.JSON(list)
}

// number reads a parameter of the query within its bounds.
func number(c *fiber.Ctx, name string, absent, least, most int64, broken *[]fault.Violation) int64 {
	text := c.Query(name)
	if text == "" {
		return absent
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < least || n > most {
		*broken = append(*broken, fault.Violation{Pointer: name, Detail: fmt.Sprintf("must be an integer from %d to %d", least, most)})
	}
	return n
}

func (h tokens) get(c *fiber.Ctx) error {
	id, err := tokenID(c, "id")
	if err != nil {
		return err
	}
	t, err := h.store.Token(c.UserContext(), id)
	if err != nil {
		return err
	}
	return c.JSON(bodyOf(t))
}

func (h tokens) replace(c *fiber.Ctx) error {
	id, err := tokenID(c, "id")
	if err != nil {
		return err
	}
	t, err := h.given(c)
	if err != nil {
		return err
	}
	t.ID = id
	if err := h.store.ReplaceToken(c.UserContext(), t); err != nil {
		return err
	}
	return c.JSON(bodyOf(t))
}

func (h tokens) remove(c *fiber.Ctx) error {
	id, err := tokenID(c, "id")
	if err != nil {
		return err
	}
	if err := h.store.DeleteToken(c.UserContext(), id); err != nil {
		return err
	}
	return c.JSON(fiber.Map{"detail": "Token deleted successfully"})
}

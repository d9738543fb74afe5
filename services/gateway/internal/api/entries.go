package api

import (
	"context"
	"fmt"
	"io"
	"mime"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"sori.internal/services/gateway/internal/catalogue"
	"sori.internal/shared/fault"
)

// maxJSON bounds a JSON body, in bytes.
const maxJSON = 1 << 20

// entries are the routes that every kind of entry has.
type entries[T any] struct {
	kind string // as its deletion tells it
	path string // of the list
	pace Pace

	decode  func(body []byte) (T, error)
	create  func(ctx context.Context, entry T) (T, error)
	find    func(ctx context.Context, id int64) (T, error)
	replace func(ctx context.Context, entry T, m catalogue.Match) (T, error)
	remove  func(ctx context.Context, id int64, m catalogue.Match) error

	identify func(entry *T, id int64)
	show     func(entry T) view
}

// view is an entry as it is answered with.
type view struct {
	id   int64
	tag  string
	body any
}

// given reads an entry out of the request's body.
func (h entries[T]) given(c *fiber.Ctx) (T, error) {
	text, err := jsonBody(c, h.pace)
	if err != nil {
		var none T
		return none, err
	}
	return h.decode(text)
}

func (h entries[T]) post(c *fiber.Ctx) error {
	entry, err := h.given(c)
	if err != nil {
		return err
	}
	if entry, err = h.create(c.UserContext(), entry); err != nil {
		return err
	}
	v := h.show(entry)
	c.Set(fiber.HeaderLocation, fmt.Sprintf("%s/%d", h.path, v.id))
	c.Set(fiber.HeaderETag, v.tag)
	return c.Status(fiber.StatusCreated).JSON(v.body)
}

func (h entries[T]) get(c *fiber.Ctx) error {
	id, err := positive(c, "id")
	if err != nil {
		return err
	}
	entry, err := h.find(c.UserContext(), id)
	if err != nil {
		return err
	}
	return answerOnce(c, h.show(entry))
}

func (h entries[T]) put(c *fiber.Ctx) error {
	id, err := positive(c, "id")
	if err != nil {
		return err
	}
	entry, err := h.given(c)
	if err != nil {
		return err
	}
	h.identify(&entry, id)
	if entry, err = h.replace(c.UserContext(), entry, expected(c)); err != nil {
		return err
	}
	v := h.show(entry)
	c.Set(fiber.HeaderETag, v.tag)
	return c.JSON(v.body)
}

func (h entries[T]) delete(c *fiber.Ctx) error {
	id, err := positive(c, "id")
	if err != nil {
		return err
	}
	if err := h.remove(c.UserContext(), id, expected(c)); err != nil {
		return err
	}
	return c.JSON(fiber.Map{"detail": h.kind + " deleted successfully"})
}

// positive reads an id out of the path.
func positive(c *fiber.Ctx, name string) (int64, error) {
	id, err := strconv.ParseInt(c.Params(name), 10, 64)
	if err != nil || id < 1 {
		return 0, catalogue.Invalid(fault.Violation{Pointer: name, Detail: "must be a positive integer"})
	}
	return id, nil
}

// jsonBody reads a body of JSON. One that says to be something else is refused,
// since a form of another site can send that without asking (CORS).
func jsonBody(c *fiber.Ctx, p Pace) ([]byte, error) {
	if given := c.Get(fiber.HeaderContentType); given != "" {
		mediaType, _, err := mime.ParseMediaType(given)
		if err != nil || mediaType != fiber.MIMEApplicationJSON && !strings.HasSuffix(mediaType, "+json") {
			return nil, fault.New(fault.Unsupported, "not-json", "The body must be application/json.")
		}
	}
	text, err := io.ReadAll(newBody(c, maxJSON, p))
	if err != nil {
		return nil, fmt.Errorf("read JSON: %w", err)
	}
	return text, nil
}

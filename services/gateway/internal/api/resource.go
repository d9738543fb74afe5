package api

import (
	"context"
	"fmt"
	"mime"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"sori.internal/services/gateway/internal/catalogue"
	"sori.internal/services/gateway/internal/httpserver"
	"sori.internal/shared/fault"
	"sori.internal/shared/principal"
)

// MaxJSON is the maximum size of a JSON body, in bytes.
const MaxJSON = 1 << 20

// resource has the handlers that tokens, scripts and actors have in common.
type resource[T any] struct {
	name     string // name of the entry in the answer to a deletion
	path     string // path of the list
	timeouts httpserver.BodyLimits
	store    storage[T]

	decode func(body []byte) (T, error)
	setID  func(entry *T, id int64)
	render func(entry T) representation
}

// storage has the functions of the store for one kind of entry.
type storage[T any] struct {
	create  func(ctx context.Context, entry T) (T, error)
	find    func(ctx context.Context, id int64) (T, error)
	replace func(ctx context.Context, entry T, m catalogue.Match) (T, error)
	remove  func(ctx context.Context, id int64, m catalogue.Match) error
}

// representation is an entry as clients see it.
type representation struct {
	id   int64
	etag string
	body any
}

// register adds the routes of single entries. get handles GET; it need not be h.get.
func (h resource[T]) register(router *httpserver.Router, get fiber.Handler) {
	router.Post(h.path, principal.CatalogueWrite, h.create)
	router.Get(h.path+"/:id", principal.CatalogueRead, get)
	router.Put(h.path+"/:id", principal.CatalogueWrite, h.replace)
	router.Delete(h.path+"/:id", principal.CatalogueWrite, h.delete)
}

// decodeBody reads an entry from the body of a request.
func (h resource[T]) decodeBody(c *fiber.Ctx) (T, error) {
	text, err := jsonBody(c, h.timeouts)
	if err != nil {
		var none T
		return none, err
	}
	return h.decode(text)
}

func (h resource[T]) create(c *fiber.Ctx) error {
	entry, err := h.decodeBody(c)
	if err != nil {
		return err
	}
	if entry, err = h.store.create(c.UserContext(), entry); err != nil {
		return err
	}
	v := h.render(entry)
	c.Set(fiber.HeaderLocation, fmt.Sprintf("%s/%d", h.path, v.id))
	c.Set(fiber.HeaderETag, v.etag)
	return c.Status(fiber.StatusCreated).JSON(v.body)
}

func (h resource[T]) get(c *fiber.Ctx) error {
	id, err := pathID(c, "id")
	if err != nil {
		return err
	}
	entry, err := h.store.find(c.UserContext(), id)
	if err != nil {
		return err
	}
	return sendConditional(c, h.render(entry))
}

func (h resource[T]) replace(c *fiber.Ctx) error {
	id, err := pathID(c, "id")
	if err != nil {
		return err
	}
	entry, err := h.decodeBody(c)
	if err != nil {
		return err
	}
	h.setID(&entry, id)
	if entry, err = h.store.replace(c.UserContext(), entry, ifMatch(c)); err != nil {
		return err
	}
	v := h.render(entry)
	c.Set(fiber.HeaderETag, v.etag)
	return c.JSON(v.body)
}

func (h resource[T]) delete(c *fiber.Ctx) error {
	id, err := pathID(c, "id")
	if err != nil {
		return err
	}
	if err := h.store.remove(c.UserContext(), id, ifMatch(c)); err != nil {
		return err
	}
	return c.JSON(fiber.Map{"detail": h.name + " deleted successfully"})
}

// pathID reads an id from the path.
func pathID(c *fiber.Ctx, name string) (int64, error) {
	id, err := strconv.ParseInt(c.Params(name), 10, 64)
	if err != nil || id < 1 {
		return 0, fault.ValidationFailed(fault.Violation{Pointer: name, Detail: "must be a positive integer"})
	}
	return id, nil
}

// jsonBody reads a JSON body. A body without a Content-Type, or with another one, is refused: a page
// of another site could send it without a CORS preflight.
func jsonBody(c *fiber.Ctx, t httpserver.BodyLimits) ([]byte, error) {
	mediaType, _, err := mime.ParseMediaType(c.Get(fiber.HeaderContentType))
	if err != nil || mediaType != fiber.MIMEApplicationJSON && !strings.HasSuffix(mediaType, "+json") {
		return nil, fault.New(fault.Unsupported, "not-json", "The body needs the header Content-Type: application/json.")
	}
	t.Total = min(t.Total, jsonTimeout)
	text, err := httpserver.ReadBody(c, MaxJSON, t)
	if err != nil {
		return nil, fmt.Errorf("read JSON: %w", err)
	}
	return text, nil
}

// jsonTimeout is how long a JSON body may take to arrive. A JSON body is small, unlike a recording.
const jsonTimeout = 30 * time.Second

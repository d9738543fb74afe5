package parts

import (
	"errors"
	"io"

	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"
)

// refuseCutBodies makes the server refuse a body that ends before its length, as AWS does. The server (v1.8.0) takes
// the end of the connection for the end of the body: it keeps what has arrived, filled with zeros up to the length,
// answers 200, and lists it as a part. A client that continues its upload after a break would not send that part again.
func refuseCutBodies(c fiber.Ctx) error {
	body, length := c.Request().BodyStream(), c.Request().Header.ContentLength()
	if body != nil && length > 0 {
		utils.ContextKeyBodyReader.Set(c, &wholeBody{body: body, left: length})
	}
	return c.Next() //nolint:wrapcheck // the contract of fiber
}

// wholeBody is a reader of a request body that returns an error if the body is shorter than its Content-Length.
type wholeBody struct {
	body io.Reader
	left int // bytes
}

// Read implements io.Reader.
func (w *wholeBody) Read(p []byte) (int, error) {
	n, err := w.body.Read(p)
	w.left -= n
	if errors.Is(err, io.EOF) && w.left > 0 {
		err = s3err.GetAPIError(s3err.ErrIncompleteBody) // the server would take io.ErrUnexpectedEOF for the regular end
	}
	return n, err //nolint:wrapcheck // the contract of io.Reader
}

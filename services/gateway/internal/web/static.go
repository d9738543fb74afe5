// Package web serves the pages: the console and the documentation of the API. Each page has a
// Content-Security-Policy that allows its own files only.
package web

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"path"

	"github.com/gofiber/fiber/v2"

	"sori.internal/shared/conditional"
	"sori.internal/shared/httpd"
)

// The values of Cache-Control.
const (
	revalidate = "no-cache"                            // caches may store the answer, but must revalidate it
	immutable  = "public, max-age=31536000, immutable" // for a file whose name has the hash of its content
)

// file is a static file, which may exist in several content codings.
type file struct {
	name    string   // its extension determines the media type
	cache   string   // Cache-Control
	etag    string   // entity tag of the file without a content coding, without quotes; empty if there is none
	codings []string // content codings in which the file may exist, the best first

	// read returns the file in a content coding, or uncoded if coding is empty. It returns
	// fs.ErrNotExist if the file does not exist in this coding.
	read func(coding string) ([]byte, error)
}

// send answers with a file, in the best content coding that the client accepts. It answers 304 if
// the client has the file, and 404 if the file does not exist.
func (f file) send(c *fiber.Ctx) error {
	mediaType, ok := mediaTypeOf(f.name)
	if !ok {
		return httpd.NoRoute()
	}
	content, coding, err := f.negotiate(c)
	if errors.Is(err, fs.ErrNotExist) {
		return httpd.NoRoute()
	}
	if err != nil {
		return err
	}
	if len(f.codings) > 0 {
		c.Vary(fiber.HeaderAcceptEncoding)
	}
	c.Set(fiber.HeaderCacheControl, f.cache)
	if f.etag != "" && notModified(c, f.etag, coding) {
		return nil
	}
	c.Set(fiber.HeaderContentType, mediaType)
	if coding != "" {
		c.Set(fiber.HeaderContentEncoding, coding)
	}
	return c.Send(content)
}

// negotiate reads the file in the best content coding that the client accepts.
func (f file) negotiate(c *fiber.Ctx) (content []byte, coding string, err error) {
	for _, coding := range f.codings {
		if accepted(c, fiber.HeaderAcceptEncoding) == "" || c.AcceptsEncodings(coding) == "" {
			continue
		}
		if content, err := f.read(coding); err == nil {
			return content, coding, nil
		}
	}
	content, err = f.read("")
	return content, "", err
}

// maxAccept is the length of the longest Accept or Accept-Encoding that is used, in bytes. Browsers
// send less than 300. Fiber sorts the entries by insertion: those of a header of 16 KiB would take a
// third of a second of processor time, for a request without credentials.
const maxAccept = 1 << 10

// accepted returns the value of Accept or Accept-Encoding, which is empty if the header is too long.
func accepted(c *fiber.Ctx, header string) string {
	value := c.Get(header)
	if len(value) > maxAccept {
		return ""
	}
	return value
}

// notModified sets ETag. If If-None-Match contains the tag, it answers 304 and returns true. Each
// content coding has a tag of its own (RFC 9110, section 8.8.3).
func notModified(c *fiber.Ctx, etag, coding string) bool {
	if coding != "" {
		etag += "-" + coding
	}
	etag = `"` + etag + `"`
	c.Set(fiber.HeaderETag, etag)
	var lines []string
	for _, line := range c.Request().Header.PeekAll(fiber.HeaderIfNoneMatch) {
		lines = append(lines, string(line))
	}
	if !conditional.Parse(lines).MatchWeak(etag) {
		return false
	}
	c.Status(fiber.StatusNotModified)
	return true
}

// hash returns the hash of a content for its entity tag.
func hash(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:16])
}

// mediaTypeOf returns the media type of a file by its extension. The table of the operating system
// is not used, since it differs between systems.
func mediaTypeOf(name string) (mediaType string, ok bool) {
	switch path.Ext(name) {
	case ".html":
		return fiber.MIMETextHTMLCharsetUTF8, true
	case ".json":
		return fiber.MIMEApplicationJSON, true
	case ".txt":
		return fiber.MIMETextPlainCharsetUTF8, true
	case ".js":
		return "text/javascript; charset=utf-8", true
	case ".css":
		return "text/css; charset=utf-8", true
	case ".svg":
		return "image/svg+xml", true
	case ".woff2":
		return "font/woff2", true
	default:
		return "", false
	}
}

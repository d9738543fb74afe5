package api

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page that stands in for a console that is not built
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/gofiber/fiber/v2"

	"sori.internal/shared/httpd"
)

// Console is the page that people see at GET /, and its files under /console/assets/.
// They are read from a folder with every request, so that a build is there as
// soon as it is made. Nothing outside the folder is read, not even by a link.
type Console struct {
	Dir   string   // of the built console; empty where there is none
	Media []string // the origins that stored audio plays from
}

// The page is asked for anew each time. The files that it names never change
// under their names, which hold their hashes.
const (
	consolePage   = "index.html"
	consoleAssets = "assets/"
	eachTime      = "no-cache"
	forEver       = "public, max-age=31536000, immutable"
)

//go:embed unbuilt.html
var unbuilt []byte

// unbuiltPolicy lets the page that stands in do nothing but look plain.
const unbuiltPolicy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// service is what GET / tells programs.
type service struct {
	httpd.Info

	MaxUploadBytes int64 `json:"max_upload_bytes"` // of one recording
}

// register adds the routes: programs get info at /, browsers the console.
func (c Console) register(app *fiber.App, info service) {
	app.Get("/", func(ctx *fiber.Ctx) error {
		ctx.Vary(fiber.HeaderAccept)
		if ctx.Accepts(fiber.MIMEApplicationJSON, fiber.MIMETextHTML) != fiber.MIMETextHTML {
			told := info
			told.Info = prefixedInfo(info.Info, publicOf(ctx.Context()).prefix)
			return ctx.JSON(told)
		}
		return c.page(ctx)
	})
	app.Get("/console", c.page)
	app.Get("/console/assets/:name", c.asset)
}

// prefixedInfo is info with links as the client sees them.
func prefixedInfo(info httpd.Info, prefix string) httpd.Info {
	links := make(map[string]string, len(info.Links))
	for name, path := range info.Links {
		links[name] = prefix + path
	}
	info.Links = links
	return info
}

// What a build leaves in the page for the prefix of the gateway's paths: the files
// that it names, and what the console puts before the paths that it asks for.
const (
	builtAssets = `"./` + consoleAssets
	builtPrefix = `name="sori-prefix" content="`
)

// underPrefix is the page as a client under a prefix needs it. A prefix has plain
// characters only.
func underPrefix(page []byte, prefix string) []byte {
	page = bytes.ReplaceAll(page, []byte(builtAssets), []byte(`"`+prefix+"/console/"+consoleAssets))
	return bytes.Replace(page, []byte(builtPrefix), []byte(builtPrefix+prefix), 1)
}

// page answers with the console's page, or with the one that stands in.
func (c Console) page(ctx *fiber.Ctx) error {
	ctx.Set(fiber.HeaderContentType, fiber.MIMETextHTMLCharsetUTF8)
	ctx.Set(fiber.HeaderReferrerPolicy, "no-referrer")
	text, err := c.read(consolePage)
	if errors.Is(err, fs.ErrNotExist) {
		ctx.Set(fiber.HeaderContentSecurityPolicy, unbuiltPolicy)
		ctx.Set(fiber.HeaderCacheControl, "no-store")
		return ctx.Send(unbuilt)
	}
	if err != nil {
		return err
	}
	text = underPrefix(text, publicOf(ctx.Context()).prefix)
	ctx.Set(fiber.HeaderContentSecurityPolicy, c.policy())
	ctx.Set(fiber.HeaderPermissionsPolicy, "microphone=(self), camera=(), geolocation=()")
	ctx.Set("Cross-Origin-Opener-Policy", "same-origin")
	ctx.Set(fiber.HeaderCacheControl, eachTime)
	hash := sha256.Sum256(text)
	ctx.Set(fiber.HeaderETag, `"`+hex.EncodeToString(hash[:16])+`"`)
	if ctx.Fresh() {
		ctx.Status(fiber.StatusNotModified)
		return nil
	}
	return ctx.Send(text)
}

// policy is the page's Content-Security-Policy: nothing but what is its own, and
// the audio that it plays, its own recordings (blob:) or stored ones.
func (c Console) policy() string {
	media := strings.Join(append([]string{"'self'", "blob:"}, c.Media...), " ")
	return "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; connect-src 'self'; " +
		"media-src " + media + "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

// asset answers with a file that the page names.
func (c Console) asset(ctx *fiber.Ctx) error {
	name := ctx.Params("name")
	mediaType, known := mediaTypes()[path.Ext(name)]
	if !known || !plain(name) {
		return httpd.NoRoute()
	}
	text, encoding, err := c.encoded(ctx, consoleAssets+name)
	if errors.Is(err, fs.ErrNotExist) {
		return httpd.NoRoute()
	}
	if err != nil {
		return err
	}
	ctx.Set(fiber.HeaderContentType, mediaType)
	ctx.Vary(fiber.HeaderAcceptEncoding)
	if encoding != "" {
		ctx.Set(fiber.HeaderContentEncoding, encoding)
	}
	ctx.Set(fiber.HeaderCacheControl, forEver)
	return ctx.Send(text)
}

// encoded reads a file as small as the client takes it and the build has it.
func (c Console) encoded(ctx *fiber.Ctx, name string) (text []byte, encoding string, err error) {
	for _, coding := range [...]struct{ name, suffix string }{{"br", ".br"}, {"gzip", ".gz"}} {
		if ctx.Get(fiber.HeaderAcceptEncoding) == "" || ctx.AcceptsEncodings(coding.name) == "" {
			continue
		}
		if text, err = c.read(name + coding.suffix); err == nil {
			return text, coding.name, nil
		}
	}
	text, err = c.read(name)
	return text, "", err
}

// read reads a file of the folder; it fails with fs.ErrNotExist where there is
// none.
func (c Console) read(name string) ([]byte, error) {
	if c.Dir == "" {
		return nil, fs.ErrNotExist
	}
	file, err := os.OpenInRoot(c.Dir, name)
	if err != nil {
		return nil, fmt.Errorf("open a file of the console: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(file)
	if err != nil {
		return nil, fmt.Errorf("read a file of the console: %w", err)
	}
	return text, nil
}

// plain reports whether a name is like those that a build gives: no other
// reaches the file system.
func plain(name string) bool {
	return len(name) <= 200 && strings.IndexFunc(name, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_' && c != '.'
	}) < 0
}

// mediaTypes are those of what a build makes, by the file's extension. The
// system's own table differs from one to the next.
func mediaTypes() map[string]string {
	return map[string]string{
		".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", ".woff2": "font/woff2",
	}
}

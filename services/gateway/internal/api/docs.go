package api

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io"
	"path"
	"strings"
	"sync/atomic"

	"github.com/gofiber/fiber/v2"

	"sori.internal/shared/httpd"
)

// docs is the page at /docs and all that it needs. Swagger UI is a package of
// npm, of which the two files that the page uses lie here, compressed: a machine
// with Go alone builds the page, and it works where no other host can be reached.
//
//go:generate ./docs.sh
//go:embed docs
var docs embed.FS

// docsPage is the page's own file.
const docsPage = "index.html"

// docsPolicy is its Content-Security-Policy: nothing but what is its own.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Docs are the API's document and the pages that show it.
type Docs struct {
	version string
	page    []byte                   // with prefixMark for the prefix of its paths
	newest  atomic.Pointer[prefixed] // nearly always all clients have the same prefix
	files   map[string]file          // by their names in the page
}

// prefixed is what differs by the prefix of the API's paths.
type prefixed struct {
	prefix         string
	page, document file
}

// prefixMark stands for the prefix in the page.
const prefixMark = "{{prefix}}"

// NewDocs makes the documentation of a version.
func NewDocs(version string) (*Docs, error) {
	d := &Docs{version: version, files: map[string]file{}}
	entries, err := docs.ReadDir("docs")
	if err != nil {
		return nil, fmt.Errorf("list the documentation: %w", err)
	}
	for _, e := range entries {
		content, err := docs.ReadFile("docs/" + e.Name())
		if err != nil {
			return nil, fmt.Errorf("read the documentation: %w", err)
		}
		if e.Name() == docsPage { // which has a policy, and its route
			d.page = content
			continue
		}
		name, zipped := strings.CutSuffix(e.Name(), ".gz")
		if !zipped {
			content = zip(content)
		}
		d.files[name] = newFile(docsType(path.Ext(name)), content)
	}
	_, err = d.under("")
	return d, err
}

// under returns what differs by the prefix. A prefix has plain characters only.
func (d *Docs) under(prefix string) (*prefixed, error) {
	if made := d.newest.Load(); made != nil && made.prefix == prefix {
		return made, nil
	}
	text, err := documentJSON(d.version, prefix)
	if err != nil {
		return nil, err
	}
	page := bytes.ReplaceAll(d.page, []byte(prefixMark), []byte(prefix))
	made := &prefixed{
		prefix: prefix, page: newFile(docsType(path.Ext(docsPage)), zip(page)), document: newFile(fiber.MIMEApplicationJSON, zip(text)),
	}
	d.newest.Store(made)
	return made, nil
}

// register adds the routes.
func (d *Docs) register(app *fiber.App) {
	app.Get("/openapi.json", d.answerDocument)
	app.Get("/docs", d.answerPage)
	app.Get("/docs/:file", d.file)
}

func (d *Docs) answerDocument(c *fiber.Ctx) error {
	made, err := d.under(publicOf(c.Context()).prefix)
	if err != nil {
		return err
	}
	return made.document.answer(c)
}

func (d *Docs) answerPage(c *fiber.Ctx) error {
	made, err := d.under(publicOf(c.Context()).prefix)
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentSecurityPolicy, docsPolicy)
	c.Set(fiber.HeaderReferrerPolicy, "no-referrer")
	return made.page.answer(c)
}

func (d *Docs) file(c *fiber.Ctx) error {
	f, ok := d.files[c.Params("file")]
	if !ok {
		return httpd.NoRoute()
	}
	return f.answer(c)
}

// docsType is the media type of a file by its extension.
func docsType(ext string) string {
	switch ext {
	case ".html":
		return fiber.MIMETextHTMLCharsetUTF8
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	default:
		return fiber.MIMETextPlainCharsetUTF8
	}
}

// file is a file in the binary. It is kept compressed, as nearly everybody takes
// it.
type file struct {
	mediaType string
	tag       string // of the content
	zipped    []byte
}

func newFile(mediaType string, zipped []byte) file {
	hash := sha256.Sum256(zipped)
	return file{mediaType: mediaType, tag: hex.EncodeToString(hash[:16]), zipped: zipped}
}

// answer answers with the file, unless the client has it already.
func (f file) answer(c *fiber.Ctx) error {
	zipped := c.Get(fiber.HeaderAcceptEncoding) != "" && c.AcceptsEncodings("gzip") != ""
	tag := `"` + f.tag + `"`
	if zipped { // which is another representation (RFC 9110, section 8.8.3)
		tag = `"` + f.tag + `-gzip"`
	}
	c.Set(fiber.HeaderETag, tag)
	c.Set(fiber.HeaderCacheControl, "no-cache") // may be kept, must be asked about
	c.Vary(fiber.HeaderAcceptEncoding)
	if known(c, tag) {
		c.Status(fiber.StatusNotModified)
		return nil
	}
	c.Set(fiber.HeaderContentType, f.mediaType)
	if zipped {
		c.Set(fiber.HeaderContentEncoding, "gzip")
		return c.Send(f.zipped)
	}
	text, err := unzip(f.zipped)
	if err != nil {
		return err
	}
	return c.Send(text)
}

func zip(text []byte) []byte {
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, _ = w.Write(text) // a buffer takes everything
	_ = w.Close()
	return zipped.Bytes()
}

func unzip(zipped []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(zipped))
	if err != nil {
		return nil, fmt.Errorf("unzip a file of the binary: %w", err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("unzip a file of the binary: %w", err)
	}
	return text, nil
}

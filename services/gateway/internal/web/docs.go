package web

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gofiber/fiber/v2"

	"sori.internal/services/gateway/internal/access"
	"sori.internal/services/gateway/internal/httpserver"
	"sori.internal/shared/httpd"
)

// docs has the page at /docs and its files. Swagger UI is an npm package. The page uses two of its
// files. They are stored here, compressed, so that Go alone builds the page and the page needs no
// other host.
//
//go:generate ./docs.sh
//go:embed docs
var docs embed.FS

// docsPage is the file of the page.
const docsPage = "index.html"

// docsPolicy is the Content-Security-Policy of the page.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Docs serves the OpenAPI document and the page that shows it.
type Docs struct {
	openAPI func(prefix string) ([]byte, error)
	page    []byte // the page with prefixPlaceholder in place of the prefix
	files   map[string]file
	cached  atomic.Pointer[prefixedDocs] // files for the prefix of the last request; nearly all clients have the same prefix
}

// prefixedDocs are the files that depend on the public prefix of the API.
type prefixedDocs struct {
	prefix        string
	page, openAPI file
}

// prefixPlaceholder stands for the prefix in the page.
const prefixPlaceholder = "{{prefix}}"

// NewDocs reads the files of the documentation. openAPI makes the document for a prefix.
func NewDocs(openAPI func(prefix string) ([]byte, error)) (*Docs, error) {
	d := &Docs{openAPI: openAPI, files: map[string]file{}}
	entries, err := docs.ReadDir("docs")
	if err != nil {
		return nil, fmt.Errorf("list the documentation: %w", err)
	}
	for _, e := range entries {
		content, err := docs.ReadFile("docs/" + e.Name())
		if err != nil {
			return nil, fmt.Errorf("read the documentation: %w", err)
		}
		if e.Name() == docsPage { // the page has a route and headers of its own
			d.page = content
			continue
		}
		name, compressed := strings.CutSuffix(e.Name(), ".gz")
		if !compressed {
			content = compress(content)
		}
		d.files[name] = compressedFile(name, content)
	}
	return d, nil
}

// Register adds the routes.
func (d *Docs) Register(r *httpserver.Router) {
	r.Get("/openapi.json", access.Public, d.sendOpenAPI)
	r.Get("/docs", access.Public, d.sendPage)
	r.Get("/docs/:file", access.Public, d.sendFile)
}

func (d *Docs) sendOpenAPI(c *fiber.Ctx) error {
	prefixed, err := d.forPrefix(httpserver.Prefix(c))
	if err != nil {
		return err
	}
	return prefixed.openAPI.send(c)
}

func (d *Docs) sendPage(c *fiber.Ctx) error {
	prefixed, err := d.forPrefix(httpserver.Prefix(c))
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentSecurityPolicy, docsPolicy)
	c.Set(fiber.HeaderReferrerPolicy, "no-referrer")
	return prefixed.page.send(c)
}

func (d *Docs) sendFile(c *fiber.Ctx) error {
	f, ok := d.files[c.Params("file")]
	if !ok {
		return httpd.NoRoute()
	}
	return f.send(c)
}

// forPrefix returns the files that depend on the prefix. It makes them at the first request for one
// of them.
func (d *Docs) forPrefix(prefix string) (*prefixedDocs, error) {
	if cached := d.cached.Load(); cached != nil && cached.prefix == prefix {
		return cached, nil
	}
	document, err := d.openAPI(prefix)
	if err != nil {
		return nil, err
	}
	page := bytes.ReplaceAll(d.page, []byte(prefixPlaceholder), []byte(prefix))
	made := &prefixedDocs{
		prefix:  prefix,
		page:    compressedFile(docsPage, compress(page)),
		openAPI: compressedFile("openapi.json", compress(document)),
	}
	d.cached.Store(made)
	return made, nil
}

// compressedFile returns a file that is in memory, compressed with gzip, which nearly all clients
// accept. For the other clients it is decompressed once: Swagger UI has 1.4 MB, and requests
// without Accept-Encoding could otherwise keep the process busy and its memory full.
func compressedFile(name string, compressed []byte) file {
	decompressed := sync.OnceValues(func() ([]byte, error) { return decompress(compressed) })
	return file{
		name: name, cache: revalidate, etag: hash(compressed), codings: []string{"gzip"},
		read: func(coding string) ([]byte, error) {
			if coding == "gzip" {
				return compressed, nil
			}
			return decompressed()
		},
	}
}

func compress(content []byte) []byte {
	var compressed bytes.Buffer
	w := gzip.NewWriter(&compressed)
	_, _ = w.Write(content) // writing to a buffer does not fail
	_ = w.Close()
	return compressed.Bytes()
}

func decompress(compressed []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return nil, fmt.Errorf("decompress an embedded file: %w", err)
	}
	content, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("decompress an embedded file: %w", err)
	}
	return content, nil
}

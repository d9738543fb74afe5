package web

import (
	"bytes"
	_ "embed" // embeds unbuilt.html
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"strings"

	"github.com/gofiber/fiber/v2"

	"sori.internal/services/gateway/internal/access"
	"sori.internal/services/gateway/internal/httpserver"
	"sori.internal/shared/httpd"
)

// Console serves the console at GET / and its files under /console/assets/. It reads the files from
// a folder at every request, so that a new build is served at once. It reads nothing outside the
// folder, not even through a symbolic link.
type Console struct {
	Dir          string   // folder of the built console; empty if there is none
	MediaOrigins []string // origins from which the page plays recordings
	Info         Info     // answer to GET / for clients that are not browsers
	SignIn       SignIn   // answer to GET /console/config.json, which the page requests
}

// SignIn describes to the console how its user can sign in.
type SignIn struct {
	Open    bool  `json:"open"`     // requests are not authenticated: nobody signs in
	APIKeys bool  `json:"api_keys"` // the user may enter an API key
	OIDC    *OIDC `json:"oidc"`     // nil: there is no OpenID provider
}

// OIDC has the settings with which the console signs users in at an OpenID provider. The console is
// a public client: it uses PKCE and has no secret, so none of this is secret.
type OIDC struct {
	Issuer   string `json:"issuer"`
	ClientID string `json:"client_id"`
	Scope    string `json:"scope"`    // the requested scopes, separated by spaces
	Audience string `json:"audience"` // the requested audience, for providers that need it
}

// Info is the response to GET / for programs.
type Info struct {
	httpd.Info

	MaxUploadBytes int64 `json:"max_upload_bytes"` // largest size of a recording, in bytes
}

// The files of a build: its page, and the folder of the files that the page loads.
const (
	consolePage   = "index.html"
	consoleAssets = "assets/"
)

//go:embed unbuilt.html
var unbuilt []byte

// unbuiltPolicy is the Content-Security-Policy of the page that is served if there is no build.
const unbuiltPolicy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Register adds the routes.
func (s Console) Register(r *httpserver.Router) {
	r.Get("/", access.Public, s.sendRoot)
	r.Get("/console", access.Public, s.sendPage)
	r.Get("/console/config.json", access.Public, s.sendConfig)
	r.Get("/console/assets/:name", access.Public, s.sendAsset)
}

// sendRoot answers programs with JSON and browsers with the console.
func (s Console) sendRoot(c *fiber.Ctx) error {
	c.Vary(fiber.HeaderAccept)
	if accepted(c, fiber.HeaderAccept) != "" && c.Accepts(fiber.MIMEApplicationJSON, fiber.MIMETextHTML) == fiber.MIMETextHTML {
		return s.sendPage(c)
	}
	info, prefix := s.Info, httpserver.Prefix(c)
	info.Links = make(map[string]string, len(s.Info.Links))
	for name, link := range s.Info.Links {
		info.Links[name] = prefix + link
	}
	return c.JSON(info)
}

// sendConfig answers with the way to sign in.
func (s Console) sendConfig(c *fiber.Ctx) error {
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.JSON(s.SignIn)
}

// sendPage answers with the page of the console or, if there is no build, with a page about how to
// build it.
func (s Console) sendPage(c *fiber.Ctx) error {
	c.Set(fiber.HeaderReferrerPolicy, "no-referrer")
	page, err := s.read(consolePage)
	if errors.Is(err, fs.ErrNotExist) {
		c.Set(fiber.HeaderContentType, fiber.MIMETextHTMLCharsetUTF8)
		c.Set(fiber.HeaderContentSecurityPolicy, unbuiltPolicy)
		c.Set(fiber.HeaderCacheControl, "no-store")
		return c.Send(unbuilt)
	}
	if err != nil {
		return err
	}
	page = withPrefix(page, httpserver.Prefix(c))
	c.Set(fiber.HeaderContentSecurityPolicy, s.policy())
	c.Set(fiber.HeaderPermissionsPolicy, "microphone=(self), camera=(), geolocation=()")
	c.Set("Cross-Origin-Opener-Policy", "same-origin")
	return file{
		name: consolePage, cache: revalidate, etag: hash(page),
		read: func(string) ([]byte, error) { return page, nil },
	}.send(c)
}

// The places in the page of a build that depend on the public prefix of the gateway: the paths of
// the page's files, and the prefix that the console puts before the paths that it requests.
const (
	assetReference = `"./` + consoleAssets
	prefixMeta     = `name="sori-prefix" content="`
)

// withPrefix returns the page for a client that reaches the gateway under a prefix.
func withPrefix(page []byte, prefix string) []byte {
	page = bytes.ReplaceAll(page, []byte(assetReference), []byte(`"`+prefix+"/console/"+consoleAssets))
	return bytes.Replace(page, []byte(prefixMeta), []byte(prefixMeta+prefix), 1)
}

// policy returns the Content-Security-Policy of the page. It allows the page's own files, two kinds
// of audio: new recordings (blob:) and stored recordings, and requests to the OpenID provider at
// which users sign in.
func (s Console) policy() string {
	connect := "'self'"
	if issuer := s.issuerOrigin(); issuer != "" {
		connect += " " + issuer
	}
	media := strings.Join(append([]string{"'self'", "blob:"}, s.MediaOrigins...), " ")
	return "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; connect-src " + connect +
		"; media-src " + media + "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

// issuerOrigin returns the origin of the OpenID provider, or "" if users do not sign in at one.
func (s Console) issuerOrigin() string {
	if s.SignIn.OIDC == nil {
		return ""
	}
	u, err := url.Parse(s.SignIn.OIDC.Issuer)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// sendAsset answers with a file that the page loads.
func (s Console) sendAsset(c *fiber.Ctx) error {
	name := c.Params("name")
	if !isAssetName(name) {
		return httpd.NoRoute()
	}
	suffixes := map[string]string{"br": ".br", "gzip": ".gz"}
	return file{
		name: name, cache: immutable, codings: []string{"br", "gzip"},
		read: func(coding string) ([]byte, error) { return s.read(consoleAssets + name + suffixes[coding]) },
	}.send(c)
}

// read reads a file of the build. It returns fs.ErrNotExist if the file or the build does not
// exist.
func (s Console) read(name string) ([]byte, error) {
	if s.Dir == "" {
		return nil, fs.ErrNotExist
	}
	file, err := os.OpenInRoot(s.Dir, name)
	if err != nil {
		return nil, fmt.Errorf("open a file of the console: %w", err)
	}
	defer file.Close()
	content, err := io.ReadAll(file)
	if err != nil {
		return nil, fmt.Errorf("read a file of the console: %w", err)
	}
	return content, nil
}

// isAssetName reports whether a build may have given a file this name. No other name reaches the
// file system.
func isAssetName(name string) bool {
	switch path.Ext(name) {
	case ".js", ".css", ".svg", ".woff2":
	default:
		return false
	}
	return len(name) <= 200 && strings.IndexFunc(name, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_' && c != '.'
	}) < 0
}

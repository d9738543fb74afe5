package app

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"

	"sori.internal/services/gateway/internal/api"
	"sori.internal/services/gateway/internal/httpserver"
	"sori.internal/services/gateway/internal/web"
	"sori.internal/shared/metrics"
	"sori.internal/shared/testkit/contract"
)

// parameter matches a parameter of a path, in the notations of Fiber and OpenAPI.
var parameter = regexp.MustCompile(`:\w+|{\w+}`)

// normalized replaces the parameters in the paths by {}, removes a final slash, and sorts the
// operations, so that those of Fiber and OpenAPI can be compared.
func normalized(operations []string) []string {
	for i, o := range operations {
		operations[i] = strings.TrimSuffix(parameter.ReplaceAllString(o, "{}"), "/")
	}
	slices.Sort(operations)
	return operations
}

func TestRoutesAndDocumentNameTheSame(t *testing.T) {
	t.Parallel()
	text, err := api.Document("1.2.3", "")
	if err != nil {
		t.Fatal(err)
	}
	document, err := contract.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	docs, err := web.NewDocs(func(string) ([]byte, error) { return text, nil })
	if err != nil {
		t.Fatal(err)
	}
	d := serverDependencies{cfg: &Config{}, conns: &connections{}, metrics: metrics.New()}
	fiberApp := fiber.New()
	d.register(docs)(httpserver.NewRouter(fiberApp, nil, httpserver.Limits{}), &httpserver.Shutdown{})
	var routed []string
	gets := map[string]bool{}
	for _, r := range fiberApp.GetRoutes(true) {
		gets[r.Path] = gets[r.Path] || r.Method == "GET"
	}
	for _, r := range fiberApp.GetRoutes(true) {
		if r.Method != "HEAD" || !gets[r.Path] { // every GET route has a HEAD route
			routed = append(routed, r.Method+" "+r.Path)
		}
	}
	routed = normalized(routed)
	named := normalized(document.Operations())
	for _, o := range named {
		if !slices.Contains(routed, o) {
			t.Errorf("%s is documented and has no route", o)
		}
	}
	for _, o := range routed {
		if !slices.Contains(named, o) {
			t.Errorf("%s is not documented", o)
		}
	}
}

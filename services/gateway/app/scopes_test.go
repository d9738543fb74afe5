package app_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"sori.internal/services/gateway/app"
	"sori.internal/services/gateway/internal/access"
	"sori.internal/services/gateway/internal/api"
	"sori.internal/services/gateway/internal/httpserver"
	"sori.internal/shared/principal"
)

func TestEveryRouteSaysWhatItNeeds(t *testing.T) {
	t.Parallel()
	table, routed, err := app.RouteTable()
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]principal.Scope{}
	for _, r := range table {
		if !slices.Contains(access.Needs(), r.Needs) {
			t.Errorf("%s %s needs %q", r.Method, r.Path, r.Needs)
		}
		named[r.Method+" "+r.Path] = r.Needs
	}
	if len(routed) != len(table) || len(table) < 40 {
		t.Errorf("Fiber has %d routes, the table %d", len(routed), len(table))
	}
	for _, r := range routed {
		if named[r.Method+" "+r.Path] == "" {
			t.Errorf("%s %s is not in the table", r.Method, r.Path)
		}
	}
	var public []string
	for route, needs := range named {
		if method, path, _ := strings.Cut(route, " "); needs == access.Public && method != "HEAD" {
			public = append(public, method+" "+path)
		}
	}
	slices.Sort(public)
	want := []string{
		"GET /", "GET /console", "GET /console/assets/:name", "GET /console/config.json", "GET /docs", "GET /docs/:file", "GET /health", "GET /limits",
		"GET /livez", "GET /openapi.json", "GET /readyz", "OPTIONS /uploads", "POST /tokens/webhook/analysis-complete",
	}
	if !slices.Equal(public, want) {
		t.Errorf("public are %q", public)
	}
}

func TestARouteWithoutAScopeCannotBeRegistered(t *testing.T) {
	t.Parallel()
	for _, needs := range []principal.Scope{"", "jobs", "nobody"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a route that needs %q is registered", needs)
				}
			}()
			httpserver.NewRouter(nil, nil, httpserver.Limits{}).Get("/x", needs, nil)
		}()
	}
}

// documentedScopes reads the security of the operations of the OpenAPI document.
func documentedScopes(t *testing.T) map[string]string {
	t.Helper()
	text, err := api.Document("1", "")
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Paths map[string]map[string]any `yaml:"paths"`
	}
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	scopes := map[string]string{}
	for path, item := range document.Paths {
		for method, operation := range item {
			if operation, ok := operation.(map[string]any); ok {
				scopes[strings.ToUpper(method)+" "+plainPath(path)] = fmt.Sprint(operation["security"])
			}
		}
	}
	return scopes
}

var pathParameter = regexp.MustCompile(`:\w+|{\w+}`)

func plainPath(path string) string {
	return strings.TrimSuffix(pathParameter.ReplaceAllString(path, "{}"), "/")
}

func TestTheDocumentNamesTheScopesOfTheRoutes(t *testing.T) {
	t.Parallel()
	table, _, err := app.RouteTable()
	if err != nil {
		t.Fatal(err)
	}
	documented := documentedScopes(t)
	for _, r := range table {
		isGet := func(other httpserver.Route) bool { return other.Method == http.MethodGet && other.Path == r.Path }
		if r.Method == http.MethodHead && slices.ContainsFunc(table, isGet) {
			continue
		}
		want := fmt.Sprintf("[map[bearer:[%[1]s]] map[apiKey:[%[1]s]]]", r.Needs)
		switch {
		case r.Needs == access.Public:
			want = "<nil>"
		case r.Needs == access.Authenticated:
			want = "[map[bearer:[]] map[apiKey:[]]]"
		case r.Needs == access.Keys:
			want = "[map[bearer:[]] map[apiKey:[admin]]]"
		case r.Ticket:
			want = strings.TrimSuffix(want, "]") + " map[ticket:[]]]"
		}
		if got := documented[r.Method+" "+plainPath(r.Path)]; got != want {
			t.Errorf("%s %s is documented with %s, not %s", r.Method, r.Path, got, want)
		}
	}
}

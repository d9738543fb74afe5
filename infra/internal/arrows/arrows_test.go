// Package arrows_test checks the directions in which packages may depend on each
// other.
package arrows_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// drivers returns the packages that adapters may import and cores may not.
func drivers() []string {
	return []string{
		"github.com/nats-io/", "github.com/lib/pq", "github.com/jmoiron/sqlx", "github.com/minio/",
		"github.com/gofiber/", "github.com/valyala/fasthttp", "database/sql", "net/http",
	}
}

// cores returns the packages that contain the services' rules.
func cores() []string {
	return []string{
		"sori.internal/services/gateway/internal/upload", "sori.internal/services/gateway/internal/catalogue",
		"sori.internal/services/gateway/internal/access", "sori.internal/services/gateway/internal/audit",
		"sori.internal/services/gateway/internal/ratelimit", "sori.internal/services/gateway/internal/quota",
		"sori.internal/services/uploader/internal/direct", "sori.internal/services/uploader/internal/resumable",
		"sori.internal/services/uploader/internal/upload",
		"sori.internal/services/dispatcher/internal/analysis",
		"sori.internal/services/tracker/internal/job", "sori.internal/services/tracker/internal/projection",
		"sori.internal/services/tracker/internal/command", "sori.internal/services/tracker/internal/query",
		"sori.internal/services/tracker/internal/watch",
	}
}

type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func list(t *testing.T) map[string]pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Imports,Deps", "work")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	found := map[string]pkg{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return found
		} else if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(p.ImportPath, "sori.internal/") {
			found[p.ImportPath] = p
		}
	}
}

// serviceOf returns the service to which a package belongs, or "" if it belongs to none.
func serviceOf(path string) string {
	rest, ok := strings.CutPrefix(path, "sori.internal/services/")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

// analyzer is the reference analysis server. Any server with the same HTTP API can replace it.
const analyzer = "sori.internal/infra/analyzer"

func TestTheArrowsBetweenThePackagesHold(t *testing.T) {
	t.Parallel()
	packages := list(t)
	for path, p := range packages {
		for _, dep := range p.Deps {
			other := serviceOf(dep)
			switch {
			case serviceOf(path) != "" && other != "" && other != serviceOf(path):
				t.Errorf("%s knows another service: %s", path, dep)
			case strings.HasPrefix(path, "sori.internal/shared/") && (other != "" || strings.HasPrefix(dep, "sori.internal/infra")):
				t.Errorf("%s knows who uses it: %s", path, dep)
			case serviceOf(path) != "" && strings.HasPrefix(dep, "sori.internal/infra"):
				t.Errorf("%s knows the infrastructure: %s", path, dep)
			case strings.HasPrefix(path, analyzer) && !strings.HasPrefix(dep, analyzer) &&
				(other != "" || strings.HasPrefix(dep, "sori.internal/infra")):
				t.Errorf("%s knows more of Sori than its HTTP API: %s", path, dep)
			}
		}
	}
}

func TestTheCoresKnowNoDriver(t *testing.T) {
	t.Parallel()
	packages := list(t)
	for _, core := range cores() {
		p, ok := packages[core]
		if !ok {
			t.Errorf("%s does not exist", core)
		}
		for _, dep := range p.Deps {
			for _, driver := range drivers() {
				if dep == driver || strings.HasSuffix(driver, "/") && strings.HasPrefix(dep, driver) {
					t.Errorf("%s knows %s", core, dep)
				}
			}
		}
	}
}

func TestAdaptersDoNotImportEachOther(t *testing.T) {
	t.Parallel()
	isCore := map[string]bool{}
	for _, core := range cores() {
		isCore[core] = true
	}
	for path, p := range list(t) {
		if serviceOf(path) == "" || !strings.Contains(path, "/internal/") || isCore[path] {
			continue
		}
		for _, imported := range p.Imports {
			if serviceOf(imported) == serviceOf(path) && !isCore[imported] && !base(imported) {
				t.Errorf("%s imports %s", path, imported)
			}
		}
	}
}

// base reports whether a package is one that adapters are built on: a computation, or the server on
// which adapters register their routes. A base imports no adapter.
func base(path string) bool {
	return strings.HasSuffix(path, "/internal/forwarded") || strings.HasSuffix(path, "/internal/httpserver")
}

// FFmpeg's licence, the GPL, applies to every program that links FFmpeg.
func TestTheDecoderAloneLinksFFmpeg(t *testing.T) {
	t.Parallel()
	const decoder = analyzer + "/decoder"
	packages := list(t)
	links := func(p pkg) bool {
		return slices.ContainsFunc(p.Deps, func(dep string) bool { return strings.HasPrefix(dep, "codeberg.org/gruf/go-ffmpreg") })
	}
	if !links(packages[decoder]) {
		t.Errorf("%s does not link it", decoder)
	}
	for path, p := range packages {
		if path != decoder && (links(p) || slices.Contains(p.Deps, decoder)) {
			t.Errorf("%s links it", path)
		}
	}
}

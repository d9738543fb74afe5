// Package licences_test lists the licences of the modules that the programs contain, and checks that
// they permit what Sori does with them.
package licences_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/licensecheck"
)

var update = flag.Bool("update", false, "write infra/licences.csv")

// file lists the licences. Versions are in the go.mod files.
const file = "../../licences.csv"

// decoder is the program that is under the GPL itself. The other programs only start decoder as a process.
const decoder = "sori.internal/infra/analyzer/decoder"

func programs() []string {
	return []string{
		"sori.internal/services/gateway", "sori.internal/services/uploader", "sori.internal/services/dispatcher",
		"sori.internal/services/tracker", "sori.internal/infra/sorictl", "sori.internal/infra/analyzer",
		"sori.internal/infra/local", decoder,
	}
}

// permitted are the licences under which a program may be distributed with a copy of the licence, and MPL-2.0, which
// requires the source of changed files only.
func permitted() []string {
	return []string{
		"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0", "MPL-2.0", "Unlicense", "Zlib",
		"public-domain",
	}
}

// publicDomain are modules whose licence file dedicates them to the public domain in its own words.
func publicDomain() []string { return []string{"github.com/xi2/xz"} }

type module struct {
	Path, Dir string
	Main      bool
}

// modules returns the third-party modules whose packages a program contains.
func modules(t *testing.T, program string) map[string]module {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=Module", program)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	found := map[string]module{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct{ Module *module }
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return found
		} else if err != nil {
			t.Fatal(err)
		}
		if m := p.Module; m != nil && !m.Main && !strings.HasPrefix(m.Path, "sori.internal/") {
			found[m.Path] = *m
		}
	}
}

var licenceFile = regexp.MustCompile(`(?i)^(li[cs]en[cs]e|copying|unlicense)`)

// licences returns the licences in the files at the root of a module.
func (m module) licences(t *testing.T) []string {
	t.Helper()
	if slices.Contains(publicDomain(), m.Path) {
		return []string{"public-domain"}
	}
	entries, err := os.ReadDir(m.Dir)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, e := range entries {
		if e.IsDir() || !licenceFile.MatchString(e.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(m.Dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range licensecheck.Scan(text).Match {
			if !slices.Contains(found, match.ID) {
				found = append(found, match.ID)
			}
		}
	}
	slices.Sort(found)
	return found
}

func TestTheLicencesAreListedAndPermitWhatSoriDoes(t *testing.T) {
	t.Parallel()
	used := map[string][]string{}
	all := map[string]module{}
	for _, program := range programs() {
		for path, m := range modules(t, program) {
			all[path] = m
			used[path] = append(used[path], filepath.Base(program))
		}
	}
	lines := []string{"module,licences,programs"}
	for path, m := range all {
		licences := m.licences(t)
		if len(licences) == 0 {
			t.Errorf("%s has no licence that is known", path)
		}
		for _, l := range licences {
			if !slices.Contains(permitted(), l) && !slices.Equal(used[path], []string{filepath.Base(decoder)}) {
				t.Errorf("%s is under %s, in %v", path, l, used[path])
			}
		}
		lines = append(lines, fmt.Sprintf("%s,%s,%s", path, strings.Join(licences, " "), strings.Join(used[path], " ")))
	}
	slices.Sort(lines[1:])
	want := strings.Join(lines, "\n") + "\n"
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != want {
		t.Errorf("%s is not up to date, %v: run this test with -update", file, err)
	}
}

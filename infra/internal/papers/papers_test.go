// Package papers_test compares the Markdown documents of the repository with its files: the files and
// identifiers that a document names must exist.
package papers_test

import (
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// root is the path of the repository relative to this package.
const root = "../../.."

// files returns the files of the repository whose name ends with suffix, relative to root.
func files(t *testing.T, suffix string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && file != root && (d.Name() == "node_modules" || d.Name() == "testdata" || hidden(d.Name())) {
			return fs.SkipDir
		}
		if strings.HasSuffix(file, suffix) {
			relative, err := filepath.Rel(root, file)
			found = append(found, filepath.ToSlash(relative))
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// documents returns every Markdown file.
func documents(t *testing.T) []string {
	t.Helper()
	found := files(t, ".md")
	if len(found) < 10 {
		t.Fatalf("only %d documents are found: %v", len(found), found)
	}
	return found
}

func hidden(name string) bool { return strings.HasPrefix(name, ".") }

// read returns a file's text.
func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// exists reports whether the repository contains a file or folder. The name may contain the wildcard *.
func exists(t *testing.T, file string) bool {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return len(found) > 0
}

var (
	// span matches inline code.
	span = regexp.MustCompile("`([^`\n]+)`")
	// place matches a path that begins at the root of the repository.
	place = regexp.MustCompile(`^(?:\./)?((?:services|shared|infra|\.ci)(?:/[\w.*-]+)+/?)$`)
	// named matches a Go file with the identifiers that the document says it declares:
	// `path/file.go` (`Name`, `name`).
	named = regexp.MustCompile("`([\\w./-]+\\.go)` \\((`\\w+`(?:, `\\w+`)*)\\)")
	// link matches the target of a Markdown link.
	link = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	// fence matches a block of code.
	fence = regexp.MustCompile("(?s)```.*?```")
	// heading matches a heading's text.
	heading = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	// testName matches the name of a test, in inline code.
	testName = regexp.MustCompile("`(Test[A-Z]\\w+)`")
	// testFunc matches the declaration of a test.
	testFunc = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	// settingCell matches the first cell of a row about a setting.
	settingCell = regexp.MustCompile("(?m)^\\| `[A-Z][A-Z0-9_]+`.*?\\|")
)

// paths returns the paths that a document names in inline code and in commands.
func paths(text string) (found []string) {
	for _, s := range span.FindAllStringSubmatch(text, -1) {
		for word := range strings.FieldsSeq(s[1]) {
			if m := place.FindStringSubmatch(strings.TrimSuffix(word, "/...")); m != nil {
				found = append(found, m[1])
			}
		}
	}
	return found
}

func TestEveryPathThatADocumentNamesExists(t *testing.T) {
	t.Parallel()
	for _, document := range documents(t) {
		for _, p := range paths(read(t, document)) {
			if !exists(t, p) {
				t.Errorf("%s names %s, which does not exist", document, p)
			}
		}
	}
	for document, least := range map[string]int{"ARCHITECTURE.md": 60, "CONTRIBUTING.md": 40} {
		if n := len(paths(read(t, document))); n < least {
			t.Errorf("only %d paths are found in %s", n, document)
		}
	}
}

func TestEveryFileDeclaresWhatADocumentSaysOfIt(t *testing.T) {
	t.Parallel()
	checked := 0
	for _, document := range documents(t) {
		for _, m := range named.FindAllStringSubmatch(read(t, document), -1) {
			if !exists(t, m[1]) {
				continue // TestEveryPathThatADocumentNamesExists reports it
			}
			source := read(t, m[1])
			for name := range strings.SplitSeq(m[2], ", ") {
				name = strings.Trim(name, "`")
				if !regexp.MustCompile(`(?m)(?:^func (?:\([^)]*\) )?|^type |^const |^\t)` + name + `\b`).MatchString(source) {
					t.Errorf("%s says that %s declares %s", document, m[1], name)
				}
				checked++
			}
		}
	}
	if checked < 15 {
		t.Errorf("only %d identifiers are checked", checked)
	}
}

func TestEveryTestThatADocumentNamesExists(t *testing.T) {
	t.Parallel()
	declared := map[string]bool{}
	for _, file := range files(t, "_test.go") {
		for _, m := range testFunc.FindAllStringSubmatch(read(t, file), -1) {
			declared[m[1]] = true
		}
	}
	checked := 0
	for _, document := range documents(t) {
		for _, m := range testName.FindAllStringSubmatch(read(t, document), -1) {
			checked++
			if !declared[m[1]] {
				t.Errorf("%s names %s, which does not exist", document, m[1])
			}
		}
	}
	if checked < 15 {
		t.Errorf("only %d tests are named", checked)
	}
}

// anchor returns the URL fragment that GitHub uses for a heading.
func anchor(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		default:
			return -1
		}
	}, strings.TrimSpace(text))
}

// links returns the targets of a document's links, except for links in blocks of code.
func links(text string) (targets []string) {
	for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		targets = append(targets, m[1])
	}
	return targets
}

func TestEveryLinkOfADocumentLeadsSomewhere(t *testing.T) {
	t.Parallel()
	checked := 0
	for _, document := range documents(t) {
		for _, target := range links(read(t, document)) {
			u, err := url.Parse(target)
			if err != nil {
				t.Errorf("%s links to %s: %v", document, target, err)
				continue
			}
			if u.Scheme != "" {
				continue // a link to another site
			}
			checked++
			file := document
			if u.Path != "" {
				file = path.Join(path.Dir(document), u.Path)
			}
			if !exists(t, file) {
				t.Errorf("%s links to %s, which does not exist", document, target)
			} else if u.Fragment != "" && !slices.Contains(anchors(read(t, file)), u.Fragment) {
				t.Errorf("%s links to %s, which has no such heading", document, target)
			}
		}
	}
	if checked < 20 {
		t.Errorf("only %d links are found", checked)
	}
}

// anchors returns the fragments of a document's headings.
func anchors(text string) (found []string) {
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		found = append(found, anchor(m[1]))
	}
	return found
}

// The English and the Korean README must have the same contents. The test compares their links and
// settings.
func TestBothREADMEsHaveTheSameLinksAndSettings(t *testing.T) {
	t.Parallel()
	var seen [2][]string
	for i, document := range []string{"README.md", "README.ko.md"} {
		text := read(t, document)
		for _, target := range links(text) {
			if !strings.HasPrefix(target, "README") && !strings.HasPrefix(target, "#") {
				seen[i] = append(seen[i], target)
			}
		}
		seen[i] = append(seen[i], settingCell.FindAllString(text, -1)...)
		slices.Sort(seen[i])
	}
	if !slices.Equal(seen[0], seen[1]) {
		t.Errorf("README.md has\n%s\nand README.ko.md\n%s", strings.Join(seen[0], "\n"), strings.Join(seen[1], "\n"))
	}
}

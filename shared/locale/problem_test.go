package locale_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"sori.internal/shared/locale"
)

// operatorCodes are the codes that no HTTP client sees: they end in dead letters, in logs and on
// the operator's terminal, which are in English.
func operatorCodes() []string {
	return []string{
		"consumer-away", "letter-not-found", "object-not-found", "replay-unanswered", "stream-not-found",
		"unexpected-event", "unreadable-event", "copies-in-hand", "sequence-invalid", "event-gone", "overtaken",
		// Codes of failed jobs, which have sentences of their own.
		"analysis-full", "analysis-rejected", "analysis-resting", "analysis-running", "analysis-unavailable",
		"recording-unknown", "result-lost", "result-malformed",
	}
}

// A raised is a code and, where it is constant, the detail that code raises with it.
type raised struct{ code, detail, place string }

// text is the value of a string literal.
func text(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(lit.Value)
	return s, err == nil
}

func named(e ast.Expr, names ...string) bool {
	s, ok := e.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	pkg, ok := s.X.(*ast.Ident)
	for _, name := range names {
		if ok && pkg.Name == "fault" && s.Sel.Name == name {
			return true
		}
	}
	return false
}

// raisedBy reads fault.New, fault.Wrap and literals of fault.Error.
func raisedBy(n ast.Node) (r raised, ok bool) {
	switch n := n.(type) {
	case *ast.CallExpr:
		if named(n.Fun, "New", "Wrap") && len(n.Args) > 2 {
			r.code, ok = text(n.Args[1])
			r.detail, _ = text(n.Args[2])
		}
	case *ast.CompositeLit:
		if !named(n.Type, "Error") {
			return r, false
		}
		for _, e := range n.Elts {
			kv, isField := e.(*ast.KeyValueExpr)
			if !isField {
				continue
			}
			switch key := kv.Key.(*ast.Ident).Name; key {
			case "Code":
				r.code, ok = text(kv.Value)
			case "Detail":
				r.detail, _ = text(kv.Value)
			}
		}
	}
	return r, ok
}

// everyProblem finds the problems that the services and what they share raise.
func everyProblem(t *testing.T) (found []raised) {
	t.Helper()
	for _, root := range []string{"../../services", "../../shared"} {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if r, ok := raisedBy(n); ok {
					r.place = set.Position(n.Pos()).String()
					found = append(found, r)
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

func TestEveryProblemHasAKoreanSentence(t *testing.T) {
	t.Parallel()
	exempt := map[string]bool{}
	for _, code := range operatorCodes() {
		exempt[code] = true
	}
	problems := everyProblem(t)
	if len(problems) < 30 {
		t.Fatalf("only %d problems are found in the source", len(problems))
	}
	for _, p := range problems {
		detail := p.detail
		if detail == "" {
			detail = "made at run time"
		}
		if !exempt[p.code] && locale.Problem(locale.Korean, p.code, detail, nil) == detail {
			t.Errorf("%s: %s has no Korean sentence for %q", p.place, p.code, p.detail)
		}
	}
}

func TestAProblemStaysEnglishWhereNothingElseIsKnown(t *testing.T) {
	t.Parallel()
	for _, l := range []locale.Language{locale.Korean, locale.English} {
		if got := locale.Problem(l, "never-heard-of", "Told as it is.", nil); got != "Told as it is." {
			t.Errorf("%s: %q", l, got)
		}
	}
	if got := locale.Problem(locale.English, "too-large", "Too large.", nil); got != "Too large." {
		t.Error(got)
	}
}

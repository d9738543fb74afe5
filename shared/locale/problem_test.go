package locale_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"

	"sori.internal/shared/locale"
	"sori.internal/shared/testkit/raised"
)

// The Korean sentences are in several functions, which are called in turn. If two functions had the
// same code, the sentence of the second one would never be used.
func TestEveryProblemHasItsKoreanSentenceInOnePlace(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "problem.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	places := map[string]string{}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || !strings.HasPrefix(f.Name.Name, "koreanOf") {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			choice, ok := n.(*ast.SwitchStmt)
			if !ok {
				return true
			}
			if on, ok := choice.Tag.(*ast.Ident); !ok || on.Name != "code" {
				return true
			}
			for _, clause := range choice.Body.List {
				for _, value := range clause.(*ast.CaseClause).List {
					code := value.(*ast.BasicLit).Value
					if place, twice := places[code]; twice {
						t.Errorf("%s is in %s and in %s", code, place, f.Name.Name)
					}
					places[code] = f.Name.Name
				}
			}
			return true
		})
	}
	if len(places) < 40 {
		t.Errorf("only %d codes were found", len(places))
	}
}

func TestEveryProblemHasAKoreanSentence(t *testing.T) {
	t.Parallel()
	exempt := map[string]bool{}
	for _, code := range raised.ForOperators() {
		exempt[code] = true
	}
	problems, err := raised.Failures("../../services", "..")
	if err != nil || len(problems) < 60 {
		t.Fatalf("%d problems are found in the source: %v", len(problems), err)
	}
	for _, p := range problems {
		detail := p.Detail
		if detail == "" {
			detail = "made at run time"
		}
		if !exempt[p.Code] && locale.Problem(locale.Korean, p.Code, detail, nil) == detail {
			t.Errorf("%s: %s has no Korean sentence for %q", p.Place, p.Code, p.Detail)
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

package locale_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"

	"sori.internal/shared/fault"
	"sori.internal/shared/locale"
	"sori.internal/shared/testkit/raised"
)

// The Korean sentences are in several functions, which are called in turn. If two functions had a
// sentence for the same problem code, that of the second one would never be used.
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

// The sentences and codes of these failures are composed at run time, so that the search of the
// source does not find them.
func TestAProblemThatIsComposedAtRunTimeIsInKorean(t *testing.T) {
	t.Parallel()
	large := fault.As(fault.ExceedsLimit("file", 100, nil))
	inParts := fault.As(fault.ExceedsLimit("file", 100, nil))
	inParts.Extra["way"], inParts.Extra["way_max_bytes"] = "s3-multipart", int64(5000)
	for _, c := range []struct {
		failure *fault.Error
		want    string
	}{
		{fault.Unreachable("database", nil), "지금은 데이터베이스에 연결할 수 없습니다. 잠시 후 다시 시도해 주세요."},
		{fault.Unreachable("storage", nil), "지금은 저장소에 연결할 수 없습니다. 잠시 후 다시 시도해 주세요."},
		{fault.Unreachable("message bus", nil), "지금은 메시지 버스에 연결할 수 없습니다. 잠시 후 다시 시도해 주세요."},
		{fault.Unreachable("tracker", nil), "지금은 필요한 서비스에 연결할 수 없습니다. 잠시 후 다시 시도해 주세요."},
		{fault.Misconfigured("database", nil), "데이터베이스가 서비스를 거부합니다. 운영자가 설정을 고쳐야 합니다."},
		{fault.AtCapacity("bus", nil), "지금은 서비스에 여유 공간이 없습니다. 잠시 후 다시 시도해 주세요."},
		{large, "내용이 허용된 최대 크기(100바이트)보다 큽니다."},
		{inParts, "파일이 허용된 최대 크기(100바이트)보다 큽니다. 5000바이트까지는 POST /s3/multipart로 나누어 보낼 수 있습니다."},
		{fault.As(fault.InsufficientScope("jobs:write")), "이 인증 정보에는 필요한 권한(jobs:write)이 없습니다."},
		{fault.New(fault.NotFound, "token-not-found", "There is no token 7."), "해당 문장이 없습니다."},
		{fault.New(fault.NotFound, "script-not-found", "There is no script 7."), "해당 대본이 없습니다."},
		{fault.New(fault.NotFound, "actor-not-found", "There is no actor 7."), "해당 배우가 없습니다."},
	} {
		if got := locale.Problem(locale.Korean, c.failure.Code, c.failure.Detail, c.failure.Extra); got != c.want {
			t.Errorf("%v: %q, want %q", c.failure, got, c.want)
		}
	}
}

// If some sentences of a code are translated by themselves, the sentence for the code would hide
// what another one says. The sentences of the exempt codes say no more than the sentence for the
// code.
func TestACodeWithSeveralSentencesHasThemAllInKorean(t *testing.T) {
	t.Parallel()
	exempt := map[string]bool{"busy": true, "job-erased": true, "unsupported-encoding": true, "upload-not-found": true}
	problems, err := raised.Failures("../../services", "..")
	if err != nil {
		t.Fatal(err)
	}
	translated, general := map[string]int{}, map[string][]raised.Failure{}
	for _, p := range problems {
		switch {
		case p.Detail == "":
		case locale.Problem(locale.Korean, "", p.Detail, nil) != p.Detail:
			translated[p.Code]++
		default:
			general[p.Code] = append(general[p.Code], p)
		}
	}
	for code := range translated {
		for _, p := range general[code] {
			if !exempt[code] {
				t.Errorf("%s: %s has no Korean sentence for %q", p.Place, p.Code, p.Detail)
			}
		}
	}
	if translated["invalid-token"] < 10 {
		t.Errorf("only %d sentences of invalid-token are found", translated["invalid-token"])
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

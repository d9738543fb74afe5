package apispec_test

import (
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"

	"sori.internal/shared/apispec"
	"sori.internal/shared/fault"
	"sori.internal/shared/problem"
	"sori.internal/shared/testkit/raised"
)

// statuses returns, from the schemas of the OpenAPI document, the statuses of the responses with
// each problem code.
func statuses(t *testing.T) map[string][]int {
	t.Helper()
	var root yaml.Node
	if err := yaml.Unmarshal(apispec.OpenAPI(), &root); err != nil {
		t.Fatal(err)
	}
	found := map[string][]int{}
	var visit func(n *yaml.Node)
	visit = func(n *yaml.Node) {
		var schema struct {
			Status struct{ Const int }
			Code   struct {
				Const string
				Enum  []string
			}
		}
		if n.Kind == yaml.MappingNode && n.Decode(&schema) == nil {
			for _, code := range append(schema.Code.Enum, schema.Code.Const) {
				if code != "" && !slices.Contains(found[code], schema.Status.Const) {
					found[code] = append(found[code], schema.Status.Const)
				}
			}
		}
		for i, inner := range n.Content {
			if i == 0 || n.Kind != yaml.MappingNode || n.Content[i-1].Value != "if" { // the schema of "if" is a condition and does not allow a status
				visit(inner)
			}
		}
	}
	visit(&root)
	return found
}

// madeAtRunTime returns the problem codes that the source code composes at run time, with their
// kinds. A search for constant codes does not find them.
func madeAtRunTime() map[string]fault.Kind {
	return map[string]fault.Kind{
		"token-not-found": fault.NotFound, "script-not-found": fault.NotFound, "actor-not-found": fault.NotFound,
		"bus-full": fault.Exhausted,
	}
}

// undocumented returns the problem codes that appear in no HTTP response. They are for operators,
// or describe a reference file that the response omits, or are the reason why a job failed.
func undocumented() []string {
	return append(raised.ForOperators(), "reference-foreign", "reference-invalid", "data-refused")
}

func TestEveryProblemCodeHasOneKindAndItsStatusIsThatOfTheDocument(t *testing.T) {
	t.Parallel()
	kinds := madeAtRunTime()
	failures, err := raised.Failures("../../services", "..")
	if err != nil || len(failures) < 60 {
		t.Fatalf("%d failures are found in the source: %v", len(failures), err)
	}
	documented := statuses(t)
	for _, f := range failures {
		if kind, known := kinds[f.Code]; known && kind != f.Kind {
			t.Errorf("%s: %s is %s here and %s elsewhere", f.Place, f.Code, f.Kind, kind)
		}
		kinds[f.Code] = f.Kind
		if documented[f.Code] == nil && !slices.Contains(undocumented(), f.Code) {
			t.Errorf("%s: %s is not in the document", f.Place, f.Code)
		}
	}
	if len(documented) < 40 {
		t.Errorf("only %d codes are found in the document", len(documented))
	}
	for code, answered := range documented {
		kind, known := kinds[code]
		if want := problem.Status(kind); !known || !slices.Equal(answered, []int{want}) {
			t.Errorf("%s is answered with %v, and %d in the source (%s, %t)", code, answered, want, kind, known)
		}
	}
}

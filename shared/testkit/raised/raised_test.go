package raised_test

import (
	"os"
	"path/filepath"
	"testing"

	"sori.internal/shared/fault"
	"sori.internal/shared/testkit/raised"
)

func TestFailuresAreFoundInEveryFormInWhichTheSourceMakesThem(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	source := `package p

const codeNamed = "named"

func f(err error, detail string) []error {
	return []error{
		fault.New(fault.NotFound, "new", "There is none."),
		fault.Wrap(fault.HeaderTooLarge, codeNamed, detail, err),
		&fault.Error{Kind: fault.Unavailable, Code: "literal", Detail: "It is away."},
		fault.MalformedJSON("No JSON.", err),
		fault.New(fault.Invalid, "made-"+detail, "The code is not constant."),
		other.New(fault.Invalid, "other", "Another package."),
	}
}
`
	if err := os.WriteFile(filepath.Join(folder, "p.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	found, err := raised.Failures(folder)
	want := []raised.Failure{
		{Code: "new", Kind: fault.NotFound, Detail: "There is none."},
		{Code: "named", Kind: fault.HeaderTooLarge},
		{Code: "literal", Kind: fault.Unavailable, Detail: "It is away."},
		{Code: "malformed-json", Kind: fault.Malformed, Detail: "No JSON."},
	}
	if err != nil || len(found) != len(want) {
		t.Fatalf("%+v, %v", found, err)
	}
	for i, f := range found {
		f.Place = ""
		if f != want[i] {
			t.Errorf("%+v, want %+v", f, want[i])
		}
	}
}

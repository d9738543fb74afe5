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
		refused(err, "It is " + "refused."),
		large("It is large."),
		large(detail),
	}
}

func refused(err error, detail string) error { return fault.Wrap(fault.Conflict, codeNamed+"-too", detail, err) }

func large(detail string) error { return &fault.Error{Kind: fault.TooLarge, Code: "large", Detail: detail} }
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
		{Code: "named-too", Kind: fault.Conflict, Detail: "It is refused."},
		{Code: "large", Kind: fault.TooLarge, Detail: "It is large."},
		{Code: "named-too", Kind: fault.Conflict}, // the functions that get the sentences
		{Code: "large", Kind: fault.TooLarge},
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

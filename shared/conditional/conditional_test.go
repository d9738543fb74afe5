package conditional_test

import (
	"slices"
	"testing"

	"sori.internal/shared/conditional"
)

func TestTheMembersOfAllLinesAreRead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		lines []string
		any   bool
		tags  []string
	}{
		{nil, false, nil},
		{[]string{""}, false, nil},
		{[]string{"*"}, true, nil},
		{[]string{`"a"`}, false, []string{`"a"`}},
		{[]string{` "a" ,W/"b",,`, `"c"`}, false, []string{`"a"`, `W/"b"`, `"c"`}},
		{[]string{`"a", *`}, true, []string{`"a"`}},
	} {
		if got := conditional.Parse(c.lines); got.Any != c.any || !slices.Equal(got.Tags, c.tags) {
			t.Errorf("%q: %+v", c.lines, got)
		}
	}
}

func TestTheWeakComparisonIgnoresWeakness(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line, tag string
		want      bool
	}{
		{"", `"a"`, false},
		{"*", `"a"`, true},
		{`"a"`, `"a"`, true},
		{`W/"a"`, `"a"`, true},
		{`"a"`, `W/"a"`, true},
		{`"b", W/"a"`, `"a"`, true},
		{`"b"`, `"a"`, false},
		{`a`, `"a"`, false},
	} {
		if got := conditional.Parse([]string{c.line}).MatchWeak(c.tag); got != c.want {
			t.Errorf("%s matches %s: %v", c.line, c.tag, got)
		}
	}
}

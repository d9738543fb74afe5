package query_test

import (
	"errors"
	"math"
	"net/url"
	"testing"

	"sori.internal/shared/fault"
	"sori.internal/shared/query"
)

func TestAnIntegerIsReadWithinItsBounds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text        string
		least, most int64
		want        int64
		detail      string // expected detail of the violation; empty if the parameter breaks no rule
	}{
		{"", 1, 5, 7, ""},
		{"1", 1, 5, 1, ""},
		{"5", 1, 5, 5, ""},
		{"0", 1, 5, 0, "must be an integer from 1 to 5"},
		{"6", 1, 5, 6, "must be an integer from 1 to 5"},
		{"1.5", 1, 5, 0, "must be an integer from 1 to 5"},
		{"-1", 1, math.MaxInt64, -1, "must be a positive integer"},
		{"9223372036854775808", 1, math.MaxInt64, math.MaxInt64, "must be a positive integer"},
	} {
		p := query.Params{Get: func(string) string { return c.text }}
		if got := p.Integer("n", 7, c.least, c.most); got != c.want {
			t.Errorf("%q: %d", c.text, got)
		}
		var detail string
		if broken, ok := errors.AsType[*fault.Error](p.Err()); ok {
			detail = broken.Violations[0].Detail
		}
		if detail != c.detail {
			t.Errorf("%q: %q", c.text, detail)
		}
	}
}

func TestEveryBrokenRuleIsNamed(t *testing.T) {
	t.Parallel()
	p := query.Params{Get: url.Values{"limit": {"x"}, "token_id": {"0"}}.Get}
	p.Integer("limit", 1, 1, 9)
	p.ID("token_id")
	p.ID("absent")
	p.Refuse("cursor", "must be a cursor")
	broken, ok := errors.AsType[*fault.Error](p.Err())
	if !ok || broken.Kind != fault.Invalid || broken.Code != "validation-failed" || len(broken.Violations) != 3 {
		t.Fatalf("%+v", p.Err())
	}
	for i, name := range []string{"limit", "token_id", "cursor"} {
		if broken.Violations[i].Pointer != name {
			t.Errorf("rule %d is one of %s", i, broken.Violations[i].Pointer)
		}
	}
}

func TestParametersThatBreakNoRuleAreNoFailure(t *testing.T) {
	t.Parallel()
	p := query.Params{Get: url.Values{"limit": {"3"}}.Get}
	if n := p.Integer("limit", 1, 1, 9); n != 3 || p.Err() != nil {
		t.Errorf("%d, %v", n, p.Err())
	}
}

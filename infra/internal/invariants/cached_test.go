package invariants

import (
	"encoding/json"
	"strings"
	"testing"

	"sori.internal/shared/event"
)

func TestACachedResultIsThatOfItsSource(t *testing.T) {
	t.Parallel()
	const from = "01a22709-ce4b-7c6a-bb5b-6c14dc26c721"
	result := json.RawMessage(`{"score":1}`)
	source := func() []Recorded {
		return []Recorded{
			{event.Received{JobID: from, TokenID: 1, Owner: "mina"}, 1},
			{event.Stored{JobID: from, SHA256: "aa"}, 2},
			{event.Completed{JobID: from, Attempt: 1, Result: result}, 4},
		}
	}
	for name, c := range map[string]struct {
		change func(source, log []Recorded) (changed, changedLog []Recorded)
		want   string // expected part of the error
	}{
		"its source's":   {func(s, l []Recorded) ([]Recorded, []Recorded) { return s, l }, ""},
		"of nothing":     {func(_, l []Recorded) ([]Recorded, []Recorded) { return nil, l }, "not analysed"},
		"of a later one": {func(s, l []Recorded) ([]Recorded, []Recorded) { s[2].Seq = 9; return s, l }, "not analysed"},
		"of a cached one": {func(s, l []Recorded) ([]Recorded, []Recorded) {
			s[2].Event = event.Completed{JobID: from, Cached: true, CachedFrom: job, Result: result}
			return s, l
		}, "not analysed"},
		"of another's": {func(s, l []Recorded) ([]Recorded, []Recorded) {
			s[0].Event = event.Received{JobID: from, TokenID: 1, Owner: "jun"}
			return s, l
		}, "another owner"},
		"of another recording": {func(s, l []Recorded) ([]Recorded, []Recorded) {
			s[1].Event = event.Stored{JobID: from, SHA256: "bb"}
			return s, l
		}, "recording"},
		"not the result": {func(s, l []Recorded) ([]Recorded, []Recorded) {
			s[2].Event = event.Completed{JobID: from, Attempt: 1, Result: json.RawMessage(`{}`)}
			return s, l
		}, "not the same result"},
		"of one that was erased later":  {func(_, l []Recorded) ([]Recorded, []Recorded) { return []Recorded{{event.Erased{JobID: from}, 7}}, l }, ""},
		"of one that was erased before": {func(_, l []Recorded) ([]Recorded, []Recorded) { return []Recorded{{event.Erased{JobID: from}, 5}}, l }, "erased before"},
	} {
		s, l := c.change(source(), []Recorded{
			{event.Received{JobID: job, TokenID: 1, Owner: "mina"}, 3},
			{event.Stored{JobID: job, SHA256: "aa"}, 6},
			{event.Completed{JobID: job, Result: result, Cached: true, CachedFrom: from}, 8},
		})
		n, err := CheckCached(map[string][]Recorded{from: s, job: l})
		if n == 0 || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %d cached, %v", name, n, err)
		}
	}
}

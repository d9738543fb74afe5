package analysis

import (
	"slices"
	"testing"
)

func TestOwnersTakeTurns(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		running map[string]int
		last    string
		owners  []string
		want    string
	}{
		"no slot was ever assigned":      {nil, "", []string{"a", "b"}, "a"},
		"the next after the last":        {nil, "a", []string{"a", "b", "c"}, "b"},
		"from the beginning again":       {nil, "c", []string{"a", "b", "c"}, "a"},
		"the last one has nothing more":  {nil, "b", []string{"a", "c"}, "c"},
		"only the last one waits":        {nil, "b", []string{"b"}, "b"},
		"the fewest running":             {map[string]int{"a": 2, "b": 1, "c": 1}, "b", []string{"a", "b", "c"}, "c"},
		"the fewest running, not a turn": {map[string]int{"a": 1, "b": 1}, "a", []string{"a", "b", "c"}, "c"},
	} {
		o := occupancy{running: c.running, last: c.last}
		if got := o.next(c.owners); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestNoOwnerWaitsLongerThanTheOthersHaveATurn(t *testing.T) {
	t.Parallel()
	owners := []string{"a", "b", "c", "d", "e"}
	for slots := 1; slots <= len(owners); slots++ {
		o := occupancy{running: map[string]int{}, jobs: map[string]Slot{}}
		var runs []string // the owners of the running analyses, oldest first
		turns := map[string]int{}
		for range 100 {
			if len(runs) == slots {
				o.running[runs[0]]--
				runs = runs[1:]
			}
			owner := o.next(owners)
			o.add(Slot{}, owner)
			runs = append(runs, owner)
			turns[owner]++
		}
		for _, owner := range owners {
			if turns[owner] != 100/len(owners) {
				t.Errorf("with %d slots %s had %d turns: %v", slots, owner, turns[owner], turns)
			}
		}
	}
	if !slices.IsSorted(owners) {
		t.Error("next has changed the owners")
	}
}

package experiment_test

import (
	"slices"
	"testing"

	"sori.internal/infra/chaos/internal/experiment"
)

func TestASeedIsAPlan(t *testing.T) {
	t.Parallel()
	a, b := experiment.DrawPlan(7, 5000, 210), experiment.DrawPlan(7, 5000, 210)
	if !slices.Equal(a, b) {
		t.Error("the same seed drew two plans")
	}
	if slices.Equal(a, experiment.DrawPlan(8, 5000, 210)) {
		t.Error("two seeds drew one plan")
	}
}

func TestEveryKindComesBeforeAnyComesAgain(t *testing.T) {
	t.Parallel()
	kinds := experiment.Kinds()
	faults := experiment.DrawPlan(1, 1000, 3*len(kinds))
	for round := range slices.Chunk(faults, len(kinds)) {
		seen := map[experiment.Kind]bool{}
		for _, f := range round {
			seen[f.Kind] = true
		}
		if len(seen) != len(kinds) {
			t.Errorf("%d of %d kinds in a round", len(seen), len(kinds))
		}
	}
}

func TestFaultsAreSpreadOverTheJobs(t *testing.T) {
	t.Parallel()
	faults := experiment.DrawPlan(1, 5000, 200)
	if first, last := faults[0].After, faults[199].After; first < 1 || last >= 5000 {
		t.Errorf("the first after %d jobs, the last after %d", first, last)
	}
	if !slices.IsSortedFunc(faults, func(a, b experiment.Fault) int { return a.After - b.After }) {
		t.Error("they are not in order")
	}
}

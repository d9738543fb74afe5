package main

import (
	"slices"
	"testing"
)

func TestASeedIsAPlan(t *testing.T) {
	t.Parallel()
	a, b := drawPlan(7, 5000, 210), drawPlan(7, 5000, 210)
	if !slices.Equal(a, b) {
		t.Error("the same seed drew two plans")
	}
	if slices.Equal(a, drawPlan(8, 5000, 210)) {
		t.Error("two seeds drew one plan")
	}
}

func TestEveryKindComesBeforeAnyComesAgain(t *testing.T) {
	t.Parallel()
	kinds := kinds()
	faults := drawPlan(1, 1000, 3*len(kinds))
	for round := range slices.Chunk(faults, len(kinds)) {
		seen := map[kind]bool{}
		for _, f := range round {
			seen[f.kind] = true
		}
		if len(seen) != len(kinds) {
			t.Errorf("%d of %d kinds in a round", len(seen), len(kinds))
		}
	}
}

func TestFaultsAreSpreadOverTheJobs(t *testing.T) {
	t.Parallel()
	faults := drawPlan(1, 5000, 200)
	if first, last := faults[0].after, faults[199].after; first < 1 || last >= 5000 {
		t.Errorf("the first after %d jobs, the last after %d", first, last)
	}
	if !slices.IsSortedFunc(faults, func(a, b fault) int { return a.after - b.after }) {
		t.Error("they are not in order")
	}
}

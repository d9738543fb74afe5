package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"sori.internal/infra/bench/internal/scenario"
	"sori.internal/infra/internal/stack"
)

func TestMain(m *testing.M) { os.Exit(stack.Main(m)) }

func TestAShortRunMeasuresEveryScenario(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "report.json")
	err := run(t.Context(), []string{"-n", "10", "-c", "4", "-size", "600000", "-patience", "0s", "-json", file})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r scenario.Report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	figures := map[string]int{}
	for _, f := range r.Figures {
		figures[f.Scenario]++
	}
	for _, s := range []string{"latency", "fanout", "jobs", "small", "access", "large", "soak", "huge"} {
		if figures[s] == 0 {
			t.Errorf("%s has no figure", s)
		}
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"nothing"}, {"small", "-nothing", "3"}, {"-n", "x"}} {
		if err := run(t.Context(), args); err == nil {
			t.Errorf("%v was taken", args)
		}
	}
}

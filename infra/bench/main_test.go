package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"sori.internal/infra/bench/internal/scenario"
	"sori.internal/infra/bench/internal/target"
	"sori.internal/infra/internal/stack"
)

func TestMain(m *testing.M) {
	if ran, code := target.RunTusd(); ran {
		os.Exit(code)
	}
	os.Exit(stack.Main(m))
}

func TestAShortRunMeasuresEveryScenario(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "report.json")
	err := run(t.Context(), []string{"-n", "10", "-c", "4", "-size", "600000", "-patience", "0s", "-attack", "500ms", "-rounds", "1", "-json", file})
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
	for _, s := range []string{"latency", "hits", "fanout", "jobs", "small", "access", "large", "soak", "huge", "ways"} {
		if figures[s] == 0 {
			t.Errorf("%s has no figure", s)
		}
	}
	if r.Attacks == nil || len(r.Attacks.Rows) != len(scenario.AllAttacks()) {
		t.Fatalf("attacks: %+v", r.Attacks)
	}
	for _, row := range r.Attacks.Rows {
		if len(row.Answers) == 0 || row.During.Requests == 0 {
			t.Errorf("attacks: %+v", row)
		}
		for _, process := range []string{"gateway", "uploader", "dispatcher", "tracker", "analyzer", "nats", "s3", "postgres"} {
			if row.Cost.Memory[process] == 0 || r.Attacks.Limits[process] == 0 {
				t.Errorf("attacks: %s: memory of %s: %d of %d", row.Attack, process, row.Cost.Memory[process], r.Attacks.Limits[process])
			}
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

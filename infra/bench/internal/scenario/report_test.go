package scenario_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sori.internal/infra/bench/internal/scenario"
	"sori.internal/infra/bench/internal/target"
)

func TestAPercentileIsOneOfTheSamples(t *testing.T) {
	t.Parallel()
	var s scenario.Samples
	if s.Percentile(50) != 0 || s.Max() != 0 {
		t.Error("no samples have a percentile")
	}
	for i := 100; i >= 1; i-- {
		s.Add(time.Duration(i))
	}
	for p, want := range map[float64]time.Duration{0: 1, 1: 1, 50: 50, 90: 90, 99: 99, 99.5: 100, 100: 100} {
		if got := s.Percentile(p); got != want {
			t.Errorf("p%v is %d, want %d", p, got, want)
		}
	}
	s.Add(1000)
	if s.Max() != 1000 || s.Len() != 101 {
		t.Error("a later sample is not seen")
	}
}

func TestAFigureIsJudgedByItsBound(t *testing.T) {
	t.Parallel()
	r := scenario.NewReport()
	for _, c := range []struct {
		value  float64
		bound  scenario.Bound
		missed bool
	}{
		{1, scenario.Bound{}, false},
		{399, scenario.Bound{AtLeast: 400}, true},
		{400, scenario.Bound{AtLeast: 400}, false},
		{50, scenario.Bound{AtMost: 50}, false},
		{51, scenario.Bound{AtMost: 50}, true},
		{-3, scenario.Bound{AtMost: 8}, false},
	} {
		f := scenario.Figure{Scenario: "s", Name: "n", Value: c.value, Unit: "ms", Bound: c.bound, Baseline: 2}
		if f.Missed() != c.missed {
			t.Errorf("%v with %+v: missed %v", c.value, c.bound, f.Missed())
		}
		r.Add(f)
	}
	if len(r.Missed()) != 2 {
		t.Error(r.Missed())
	}
}

func TestAReportIsTablesAndJSON(t *testing.T) {
	t.Parallel()
	r := scenario.NewReport()
	r.Add(scenario.Figure{Scenario: "small", Name: "uploads", Value: 123.4, Unit: "/s", Bound: scenario.Bound{AtLeast: 150}, Baseline: 246.8})
	r.Processes = []target.Process{{Scenario: "small", Name: "gateway", Jobs: 500, CPU: 1, RSSBefore: 1 << 20, RSSAfter: 2 << 20}, {Name: "(others)"}}
	r.Note("a %s", "note")
	var b strings.Builder
	if err := r.Print(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| small    | uploads | 123 /s | ≥ 150 | MISSED | 247   | 0.50         |", "1.0 MiB", "2.00", "- a note",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
	file := filepath.Join(t.TempDir(), "report.json")
	if err := r.Save(file); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var back scenario.Report
	if err := json.Unmarshal(text, &back); err != nil || len(back.Figures) != 1 || back.Figures[0] != r.Figures[0] {
		t.Errorf("%s %v", text, err)
	}
}

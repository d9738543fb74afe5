package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

func TestAnInstallationThatDoesNotAnswerIsAnError(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close() // nothing listens at this address any more
	for _, args := range [][]string{
		{"-gateway", "http://" + l.Addr().String()}, {"-endpoints", filepath.Join(t.TempDir(), "endpoints.json")},
		{"-gateway", "http://" + l.Addr().String(), "-pids", "gateway=none"},
	} {
		if err := run(t.Context(), append(args, "latency")); err == nil {
			t.Errorf("%v was measured", args)
		}
	}
}

// A run takes minutes: a scenario that fails must not cost the figures of the others.
func TestAFailedScenarioDoesNotEndTheOthers(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	var ran []string
	step := func(name string, err error) scenario.Scenario {
		return scenario.Scenario{Name: name, Limit: time.Minute, Run: func(context.Context, *scenario.Bench) error {
			ran = append(ran, name)
			return err
		}}
	}
	b := &scenario.Bench{Report: scenario.NewReport()}
	chosen := []scenario.Scenario{step("first", broken), step("second", fmt.Errorf("restart: %w", target.ErrNotOurs)), step("third", nil)}
	err := runAll(t.Context(), b, chosen)
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "first") || errors.Is(err, target.ErrNotOurs) || len(ran) != 3 {
		t.Errorf("ran %v: %v", ran, err)
	}
	if len(b.Report.Notes) != 1 || !strings.Contains(b.Report.Notes[0], "second: not measured") {
		t.Errorf("notes %q", b.Report.Notes)
	}
}

// The end of a part of the system under test is the cause that the operator must see.
func TestNoScenarioBeginsAfterTheEnd(t *testing.T) {
	t.Parallel()
	died := errors.New("the gateway has died")
	ctx, cancel := context.WithCancelCause(t.Context())
	all := []scenario.Scenario{
		{Name: "first", Limit: time.Minute, Run: func(context.Context, *scenario.Bench) error { cancel(died); return nil }},
		{Name: "second", Limit: time.Minute, Run: func(context.Context, *scenario.Bench) error { t.Error("it has begun"); return nil }},
	}
	if err := runAll(ctx, &scenario.Bench{Report: scenario.NewReport()}, all); !errors.Is(err, died) {
		t.Errorf("%v, want %v", err, died)
	}
}

package scenario

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"sori.internal/infra/bench/internal/target"
	"sori.internal/infra/internal/client"
)

// attackedOf returns the result of an attack. The parameters are the p99 of the other user, before (quiet) and during the
// attack, and the p99 of the control process before and during it.
func attackedOf(quiet, during, quietControl, control float64) Attacked {
	return Attacked{
		Attack: "flood", Rounds: 1, Quiet: Noticed{Requests: 100, P99: quiet, Control: quietControl},
		During: Noticed{Requests: 100, P99: during, Control: control},
	}
}

func TestAnotherUsersP99MayDoubleUnlessTheMachineIsSlower(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		a      Attacked
		bound  float64
		missed bool
	}{
		"twice":                          {attackedOf(20, 40, 1, 1), 40, false},
		"more":                           {attackedOf(20, 41, 1, 1), 40, true},
		"below the floor":                {attackedOf(1, 10, 1, 1), 10, false},
		"a machine that is three slower": {attackedOf(20, 120, 1, 3), 120, false},
		"and still more":                 {attackedOf(20, 121, 1, 3), 120, true},
		"a machine that is faster":       {attackedOf(20, 41, 3, 1), 40, true},
		"without a control":              {attackedOf(20, 41, 0, 5), 40, true},
	} {
		r := &AttackReport{}
		r.add(c.a)
		if got := c.a.bound(); got != c.bound {
			t.Errorf("%s: the bound is %v, want %v", name, got, c.bound)
		}
		if missed := len(r.Missed()) > 0; missed != c.missed || r.slowed("flood") != c.missed {
			t.Errorf("%s: missed %v, slowed %v", name, r.Missed(), r.slowed("flood"))
		}
		r.Free = true
		if r.slowed("flood") || len(r.Missed()) > 0 {
			t.Errorf("%s: there is a bound", name)
		}
	}
}

func TestARequestThatIsNotAnsweredMissesTheBound(t *testing.T) {
	t.Parallel()
	a := attackedOf(20, 5, 1, 1)
	a.During.Failed = map[string]int{"503": 1}
	r := &AttackReport{}
	r.add(a)
	if missed := r.Missed(); len(missed) != 1 || missed[0].Value != 0.99 || !r.slowed("flood") {
		t.Errorf("%+v", missed)
	}
}

func TestMemoryOverTheLimitIsAnError(t *testing.T) {
	t.Parallel()
	a := attackedOf(20, 20, 1, 1)
	a.Cost.Memory = map[string]int64{"gateway": 512 << 20, "nats": 300 << 20}
	r := &AttackReport{Limits: map[string]int64{"gateway": 512 << 20, "nats": 1 << 30}}
	r.add(a)
	if err := r.tooLarge(); err != nil {
		t.Error(err)
	}
	a.Cost.Memory = map[string]int64{"gateway": 513 << 20}
	r.add(a)
	if err := r.tooLarge(); !errors.Is(err, errMemory) || !strings.Contains(err.Error(), "flood: memory of gateway") {
		t.Error(err)
	}
	if missed := r.Missed(); len(missed) != 1 || missed[0].Value != 513 {
		t.Errorf("%+v", missed)
	}
}

func TestOfSeveralRoundsTheSmallestRatioAndTheLargestMemoryCount(t *testing.T) {
	t.Parallel()
	first, second := attackedOf(20, 100, 1, 1), attackedOf(30, 45, 1, 1)
	first.Cost.Memory = map[string]int64{"gateway": 200, "nats": 7}
	second.Cost.Memory = map[string]int64{"gateway": 100, "nats": 9}
	for _, order := range [][]Attacked{{first, second}, {second, first}} {
		r := &AttackReport{}
		for _, a := range order {
			a.Cost.Memory = maps.Clone(a.Cost.Memory)
			r.add(a)
		}
		row := r.Rows[0]
		if len(r.Rows) != 1 || row.During.P99 != 45 || row.Rounds != 2 || !maps.Equal(row.Cost.Memory, map[string]int64{"gateway": 200, "nats": 9}) {
			t.Errorf("%+v", r.Rows)
		}
	}
}

func TestTheReportOfAttacksIsTwoTables(t *testing.T) {
	t.Parallel()
	a := attackedOf(20, 50, 1, 1)
	a.Answers = map[string]int{"429": 30, "200": 70}
	a.During.Jobs, a.During.Ended, a.During.JobP50, a.During.Open = 5, 4, 120, map[string]int{"stored": 1}
	a.Cost = Cost{Memory: map[string]int64{"gateway": 600 << 20}, CPU: map[string]float64{target.Others: 0.25}}
	r := NewReport()
	r.Attacks = &AttackReport{Limits: map[string]int64{"gateway": 512 << 20}, Rows: []Attacked{a}}
	r.Attacks.Quiet.add(Cost{Memory: map[string]int64{"gateway": 30 << 20}})
	var b strings.Builder
	if err := r.Print(&b); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{
		"| flood | 100 | 200: 70, 429: 30 |", "| 20 | 50 | 2.5 | 1.0 | 40 |", "| 4 of 5, 120 ms; stored: 1 | 25 % | 1 | MISSED |",
		"| limit | 512 |", "| quiet | 30 |", "| flood | 600 |", "| EXCEEDED |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
	if len(r.Missed()) != 2 {
		t.Error(r.Missed())
	}
}

func TestWindowsAreSummarizedTogether(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	one, two := newWindow(), newWindow()
	for i := range 98 {
		one.answered(ctx, "read", time.Now().Add(-time.Duration(i)*time.Millisecond), nil)
	}
	two.answered(ctx, "upload", time.Now().Add(-time.Minute), nil)
	two.answered(ctx, "upload", time.Now().Add(-time.Hour), nil)
	two.answered(ctx, "upload", time.Now(), &client.Problem{Status: 503})
	two.answered(ctx, "upload", time.Now(), errors.New("cut"))
	two.control.Add(5 * time.Millisecond)
	two.jobs.Add(7 * time.Millisecond)
	two.accepted, two.open["stored"] = 2, 1
	cancel()
	two.answered(ctx, "upload", time.Now(), errors.New("interrupted"))
	n := noticed(one, two)
	if n.Requests != 102 || n.P99 < 60_000 || n.P99 > 3_600_000 || n.Kinds["read"] > 60_000 || n.Control != 5 {
		t.Errorf("%+v", n)
	}
	if !maps.Equal(n.Failed, map[string]int{"503": 1, "none": 1}) || n.Jobs != 2 || n.Ended != 1 || n.JobP50 != 7 || n.Open["stored"] != 1 {
		t.Errorf("%+v", n)
	}
}

func TestAttacksAreChosenByName(t *testing.T) {
	t.Parallel()
	if all, err := chosen(nil); err != nil || len(all) < 15 {
		t.Error(len(all), err)
	}
	if some, err := chosen([]string{"lists", "streams"}); err != nil || len(some) != 2 {
		t.Error(some, err)
	}
	if _, err := chosen([]string{"lists", "nonsense"}); !errors.Is(err, errNoAttack) {
		t.Error(err)
	}
}

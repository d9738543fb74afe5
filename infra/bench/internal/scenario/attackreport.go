package scenario

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"sori.internal/infra/bench/internal/target"
	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/stack"
)

// attackSlack is the factor by which another user's p99 may grow during an attack. attackFloor is the p99 in
// milliseconds that is always allowed: a p99 of a few milliseconds doubles when one of two processors is busy with
// any other work for the length of a time slice, which no service can prevent.
const (
	attackSlack = 2
	attackFloor = 10
)

// AttackReport contains the results of the scenario attacks.
type AttackReport struct {
	Limits map[string]int64 `json:"limits"` // memory limit of each process in docker-compose.yml, in bytes
	// Free means that the p99 has no bound, since flags changed the size of the scenario.
	Free  bool       `json:"free,omitempty"`
	Quiet Cost       `json:"quiet"`
	Rows  []Attacked `json:"attacks"`
}

// Attacked is the result of one attack.
type Attacked struct {
	Attack  string         `json:"attack"`
	Answers map[string]int `json:"answers"` // the attacker's requests by the status of the response
	Quiet   Noticed        `json:"quiet"`   // what the bystander measured directly before and after the attack
	During  Noticed        `json:"during"`  // what the bystander measured during the attack
	Cost    Cost           `json:"cost"`    // what the processes used during the attack
	Rounds  int            `json:"rounds"`  // how often the attack was measured; the other fields are of the round with the smallest ratio
}

// Cost is the memory and CPU time that the processes used in a window of time.
type Cost struct {
	Memory map[string]int64   `json:"memory"`        // the largest memory in bytes
	CPU    map[string]float64 `json:"cpu,omitempty"` // fraction of the time of all processors
}

// add raises the memory of each process to the value in other, if that is larger.
func (c *Cost) add(other Cost) {
	if c.Memory == nil {
		c.Memory = map[string]int64{}
	}
	for name, bytes := range other.Memory {
		c.Memory[name] = max(c.Memory[name], bytes)
	}
}

// busier returns the factor, at least 1, by which the machine as a whole became slower during the attack. The attacker
// and other programs run on the same machine as the services, and take processor time from them. On other machines they
// would not.
func (a Attacked) busier() float64 {
	if a.Quiet.Control == 0 {
		return 1
	}
	return max(a.During.Control/a.Quiet.Control, 1)
}

// bound is the largest p99 of the other user during the attack, in milliseconds.
func (a Attacked) bound() float64 { return max(attackSlack*a.busier()*a.Quiet.P99, attackFloor) }

// ratio returns how much of its bound another user's p99 reaches. The ratio is more than 1 if the p99 misses the bound
// or if a request was not answered.
func (a Attacked) ratio() float64 {
	if total(a.During.Failed) > 0 || a.During.Requests == 0 {
		return math.Inf(1)
	}
	return a.During.P99 / a.bound()
}

// add adds the result of an attack. If the attack has a result already, the result with the smaller ratio is kept, with
// the larger memory of both.
func (r *AttackReport) add(a Attacked) {
	i := slices.IndexFunc(r.Rows, func(row Attacked) bool { return row.Attack == a.Attack })
	if i < 0 {
		r.Rows = append(r.Rows, a)
		return
	}
	kept, other := r.Rows[i], a
	if other.ratio() < kept.ratio() {
		kept, other = other, kept
	}
	kept.Rounds += other.Rounds
	kept.Cost.add(other.Cost)
	r.Rows[i] = kept
}

// slowed reports whether another user's p99 misses its bound during an attack.
func (r *AttackReport) slowed(name string) bool {
	return slices.ContainsFunc(r.Rows, func(a Attacked) bool { return a.Attack == name && !r.Free && a.ratio() > 1 })
}

// figures returns the figures of the attack that have a bound.
func (r *AttackReport) figures(a Attacked) []Figure {
	ok := 0.0
	if a.During.Requests > 0 {
		ok = float64(a.During.Requests-total(a.During.Failed)) / float64(a.During.Requests)
	}
	p99 := Bound{AtMost: a.bound()}
	if r.Free {
		p99 = Bound{}
	}
	all := []Figure{
		{Scenario: "attacks", Name: a.Attack + ": another user's p99", Value: a.During.P99, Unit: "ms",
			Bound: p99, Baseline: a.Quiet.P99},
		{Scenario: "attacks", Name: a.Attack + ": another user's requests that are answered", Value: ok, Bound: Bound{AtLeast: 1}},
	}
	for _, name := range processNames() {
		if limit := r.Limits[name]; limit > 0 {
			all = append(all, Figure{Scenario: "attacks", Name: a.Attack + ": memory of " + name, Value: float64(a.Cost.Memory[name]) / (1 << 20),
				Unit: "MiB", Bound: Bound{AtMost: float64(limit) / (1 << 20)}})
		}
	}
	return all
}

// Missed returns the figures that miss their bounds.
func (r *AttackReport) Missed() []Figure {
	var missed []Figure
	for _, a := range r.Rows {
		for _, f := range r.figures(a) {
			if f.Missed() {
				missed = append(missed, f)
			}
		}
	}
	return missed
}

// tooLarge returns an error if a process exceeded its memory limit.
func (r *AttackReport) tooLarge() error {
	var names []string
	for _, f := range r.Missed() {
		if f.Unit == "MiB" {
			names = append(names, f.Name)
		}
	}
	if len(names) > 0 {
		return fmt.Errorf("%w: %s", errMemory, strings.Join(names, ", "))
	}
	return nil
}

// processNames returns the names of the processes, in the order of the table's columns.
func processNames() []string {
	return append(harness.Services(), harness.Analyzer, string(stack.NATS), string(stack.S3), string(stack.Postgres))
}

func total(counts map[string]int) (sum int) {
	for _, n := range counts {
		sum += n
	}
	return sum
}

// print writes two tables: the requests and jobs of the bystander, and the memory of the processes.
func (r *AttackReport) print(w io.Writer) {
	noticed := table{{
		"attack", "requests", "answers", "p50 quiet", "attacked", "p99 quiet", "attacked", "ratio", "control", "bound", "not answered", "jobs ended quiet", "attacked", "others' CPU", "rounds", "",
	}}
	memory := table{append([]string{"peak memory, MiB"}, append(processNames(), "")...)}
	limits, quiet := []string{"limit"}, []string{"quiet"}
	for _, name := range processNames() {
		limits = append(limits, mib(r.Limits[name]))
		quiet = append(quiet, mib(r.Quiet.Memory[name]))
	}
	memory = append(memory, append(limits, ""), append(quiet, ""))
	for _, a := range r.Rows {
		noticed = append(noticed, r.noticedRow(a))
		memory = append(memory, r.memoryRow(a))
	}
	noticed.print(w)
	fmt.Fprintln(w)
	memory.print(w)
}

func (r *AttackReport) noticedRow(a Attacked) []string {
	verdict := "ok"
	for _, f := range r.figures(a)[:2] {
		if f.Missed() {
			verdict = "MISSED"
		}
	}
	ratio := ""
	if a.Quiet.P99 > 0 {
		ratio = fmt.Sprintf("%.1f", a.During.P99/a.Quiet.P99)
	}
	return []string{
		a.Attack, fmt.Sprint(total(a.Answers)), counted(a.Answers), number(a.Quiet.P50), number(a.During.P50),
		number(a.Quiet.P99), number(a.During.P99), ratio, fmt.Sprintf("%.1f", a.busier()), number(a.bound()), counted(a.During.Failed),
		a.Quiet.ended(), a.During.ended(), fmt.Sprintf("%.0f %%", 100*a.Cost.CPU[target.Others]), fmt.Sprint(a.Rounds), verdict,
	}
}

// ended describes the bystander's jobs: how many ended, their median duration, and the stages of the jobs that did
// not end.
func (n Noticed) ended() string {
	text := fmt.Sprintf("%d of %d", n.Ended, n.Jobs)
	if n.Ended > 0 {
		text += fmt.Sprintf(", %s ms", number(n.JobP50))
	}
	if len(n.Open) > 0 {
		text += "; " + counted(n.Open)
	}
	return text
}

func (r *AttackReport) memoryRow(a Attacked) []string {
	row, verdict := []string{a.Attack}, "ok"
	for _, name := range processNames() {
		row = append(row, mib(a.Cost.Memory[name]))
	}
	for _, f := range r.figures(a)[2:] {
		if f.Missed() {
			verdict = "EXCEEDED"
		}
	}
	return append(row, verdict)
}

func mib(bytes int64) string { return fmt.Sprintf("%.0f", float64(bytes)/(1<<20)) }

// counted formats counts, sorted by name.
func counted(counts map[string]int) string {
	parts := make([]string, 0, len(counts))
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s: %d", name, counts[name]))
	}
	return strings.Join(parts, ", ")
}

package scenario

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"sori.internal/infra/bench/internal/target"
)

// Bound is a lower or an upper bound for a figure. The zero value is no bound.
type Bound struct {
	AtLeast float64 `json:"at_least,omitempty"`
	AtMost  float64 `json:"at_most,omitempty"`
}

// Figure is one measured value.
type Figure struct {
	Scenario string  `json:"scenario"`
	Name     string  `json:"name"`
	Value    float64 `json:"value"`
	Unit     string  `json:"unit"`
	Bound    Bound   `json:"bound,omitzero"`
	Baseline float64 `json:"floor,omitempty"` // the same figure for the baseline, in the same unit; 0 if it was not measured
}

// Missed reports whether the figure is outside its bound.
func (f Figure) Missed() bool {
	return f.Bound.AtLeast != 0 && f.Value < f.Bound.AtLeast || f.Bound.AtMost != 0 && f.Value > f.Bound.AtMost
}

// Report contains the results of a whole run. It can be printed as tables and saved as JSON, and compares
// each figure with its bound.
type Report struct {
	Processors int              `json:"processors"`
	System     string           `json:"system"`
	Go         string           `json:"go"`
	Began      time.Time        `json:"began"`
	Figures    []Figure         `json:"figures"`
	Processes  []target.Process `json:"processes"`
	Attacks    *AttackReport    `json:"attacks,omitempty"`
	Notes      []string         `json:"notes,omitempty"`
}

// NewReport returns an empty report about this machine.
func NewReport() *Report {
	return &Report{
		Processors: runtime.NumCPU(), System: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(), Began: time.Now().UTC(),
	}
}

// Add adds a figure.
func (r *Report) Add(f Figure) { r.Figures = append(r.Figures, f) }

// Note adds a sentence for the reader of the figures.
func (r *Report) Note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// Missed returns the figures that miss their bounds.
func (r *Report) Missed() []Figure {
	var missed []Figure
	for _, f := range r.Figures {
		if f.Missed() {
			missed = append(missed, f)
		}
	}
	if r.Attacks != nil {
		missed = append(missed, r.Attacks.Missed()...)
	}
	return missed
}

// Save writes the report as JSON.
func (r *Report) Save(file string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("save the report: %w", err)
	}
	if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("save the report: %w", err)
	}
	return nil
}

// Print writes the report as Markdown.
func (r *Report) Print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s, %d processors, %s, %s\n\n", r.System, r.Processors, r.Go, r.Began.Format(time.DateTime))
	if len(r.Figures) > 0 {
		figures := table{{"scenario", "figure", "value", "bound", "", "floor", "of the floor"}}
		for _, f := range r.Figures {
			figures = append(figures, []string{f.Scenario, f.Name, number(f.Value) + " " + f.Unit, f.Bound.text(), f.verdict(), f.baseline(), f.ratio()})
		}
		figures.print(&b)
	}
	if len(r.Processes) > 0 {
		b.WriteByte('\n')
		processes := table{{"scenario", "process", "CPU s", "CPU s / 1000 jobs", "share", "RSS before", "after", "peak growth"}}
		for _, p := range r.Processes {
			processes = append(processes, processRow(p))
		}
		processes.print(&b)
	}
	if r.Attacks != nil {
		b.WriteByte('\n')
		r.Attacks.print(&b)
	}
	for i, note := range r.Notes {
		if i == 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "- %s\n", note)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("print the report: %w", err)
	}
	return nil
}

func (b Bound) text() string {
	switch {
	case b.AtLeast != 0:
		return "≥ " + number(b.AtLeast)
	case b.AtMost != 0:
		return "≤ " + number(b.AtMost)
	default:
		return ""
	}
}

func (f Figure) verdict() string {
	switch {
	case f.Missed():
		return "MISSED"
	case f.Bound != Bound{}:
		return "ok"
	default:
		return ""
	}
}

func (f Figure) baseline() string {
	if f.Baseline == 0 {
		return ""
	}
	return number(f.Baseline)
}

func (f Figure) ratio() string {
	if f.Baseline == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", f.Value/f.Baseline)
}

// processRow returns the table row for a process.
func processRow(p target.Process) []string {
	perThousand, growth, before, after := "", "", "", ""
	if p.Jobs > 0 {
		perThousand = fmt.Sprintf("%.2f", p.CPU/float64(p.Jobs)*1000)
	}
	if p.RSSBefore > 0 {
		before, after = mebibytes(p.RSSBefore), mebibytes(p.RSSAfter)
	}
	if p.PeakGrowth > 0 {
		growth = mebibytes(p.PeakGrowth)
	}
	return []string{
		p.Scenario, p.Name, fmt.Sprintf("%.2f", p.CPU), perThousand, fmt.Sprintf("%.0f %%", 100*p.Share),
		before, after, growth,
	}
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// number formats a value with about three digits, since a measurement is not more precise.
func number(v float64) string {
	switch {
	case v >= 100 || v == float64(int64(v)):
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// table is a list of rows of cells. The first row is the header. All rows have the same number of cells.
type table [][]string

// print writes a Markdown table whose columns also line up in a terminal.
func (t table) print(w io.Writer) {
	lines := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	for n, row := range t {
		fmt.Fprintf(lines, "| %s\t|\n", strings.Join(row, "\t| "))
		if n == 0 {
			fmt.Fprintln(lines, strings.Repeat("|---\t", len(row))+"|")
		}
	}
	_ = lines.Flush() // writing to memory cannot fail
}

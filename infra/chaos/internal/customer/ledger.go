package customer

import (
	"fmt"
	"maps"
	"sync"
)

// Rule is what customers may rely on.
type Rule string

// The rules that customers see broken themselves.
const (
	Answers  Rule = "every answer is what was asked for, or says properly when to come again"
	Versions Rule = "no customer is shown an older version than before"
)

// Event is something that happened to customers, or that they did, and that is counted.
type Event string

// The events.
const (
	CutBody   Event = "upload cut in the middle"
	CutStream Event = "stream cut"
	Canceled  Event = "cancel"
	Retried   Event = "retry"
	Erased    Event = "erase"
)

// Ledger is what customers were told. Its methods are safe for concurrent use.
type Ledger struct {
	mu       sync.Mutex
	ends     map[string]string // of accepted jobs: the status that was seen last, empty before any
	falls    map[string]int    // how often a job's progress was seen to fall
	wrongs   map[Rule][]string
	counts   map[Event]int
	accepted chan struct{} // closed with every job
}

func newLedger() *Ledger {
	return &Ledger{
		ends: map[string]string{}, falls: map[string]int{}, wrongs: map[Rule][]string{}, counts: map[Event]int{},
		accepted: make(chan struct{}),
	}
}

func (l *Ledger) accept(job string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends[job] = ""
	close(l.accepted)
	l.accepted = make(chan struct{})
}

func (l *Ledger) end(job, status string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends[job] = status
}

func (l *Ledger) fell(job string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.falls[job]++
}

func (l *Ledger) wrong(rule Rule, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrongs[rule] = append(l.wrongs[rule], fmt.Sprintf(format, args...))
}

func (l *Ledger) count(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[e]++
}

// Accepted is how many jobs there are, and a channel that is closed when there is another.
func (l *Ledger) Accepted() (int, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()

	return len(l.ends), l.accepted
}

// Ended is how many jobs were seen to an end.
func (l *Ledger) Ended() int {
	n := 0
	for _, status := range l.Ends() {
		if status != "" {
			n++
		}
	}

	return n
}

// Ends are the accepted jobs, each with the end that its customer saw last; empty where it saw none.
func (l *Ledger) Ends() map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()

	return maps.Clone(l.ends)
}

// Falls tells how often the progress of which job was seen to fall. Only a new attempt may make it.
func (l *Ledger) Falls() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()

	return maps.Clone(l.falls)
}

// Wrongs are the ways in which a rule was broken.
func (l *Ledger) Wrongs(rule Rule) []string {
	l.mu.Lock()
	defer l.mu.Unlock()

	return append([]string(nil), l.wrongs[rule]...)
}

// Counts tells how often which event happened.
func (l *Ledger) Counts() map[Event]int {
	l.mu.Lock()
	defer l.mu.Unlock()

	return maps.Clone(l.counts)
}

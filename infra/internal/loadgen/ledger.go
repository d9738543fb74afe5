package loadgen

import (
	"fmt"
	"maps"
	"sync"
)

// Rule is an invariant.
type Rule string

// The invariants that clients check themselves.
const (
	Answers  Rule = "every answer is the requested one, or says properly when to try again"
	Versions Rule = "no client is shown an older version than before"
	Owners   Rule = "nobody is shown another's job, nor may change it"
)

// Action is an action of a client, or a fault that it suffered, which the ledger counts.
type Action string

// The actions.
const (
	CutBody   Action = "upload cut in the middle"
	CutStream Action = "stream cut"
	Canceled  Action = "cancel"
	Retried   Action = "retry"
	Erased    Action = "erase"
	Intruded  Action = "request for another's job"
)

// Ledger records what clients were answered. Its methods are safe for concurrent use.
type Ledger struct {
	mu       sync.Mutex
	ends     map[string]string // by accepted job: the terminal status that was seen last, or "" before the first one
	owners   map[string]int    // by accepted job: the number of its owner
	drops    map[string]int    // by job: how many times a client saw the progress go back
	broken   map[Rule][]string
	counts   map[Action]int
	accepted chan struct{} // closed, and replaced, when a job is accepted
}

func newLedger() *Ledger {
	return &Ledger{
		ends: map[string]string{}, owners: map[string]int{}, drops: map[string]int{}, broken: map[Rule][]string{}, counts: map[Action]int{},
		accepted: make(chan struct{}),
	}
}

func (l *Ledger) accept(job string, owner int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends[job], l.owners[job] = "", owner
	close(l.accepted)
	l.accepted = make(chan struct{})
}

func (l *Ledger) end(job, status string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends[job] = status
}

func (l *Ledger) drop(job string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drops[job]++
}

func (l *Ledger) violate(rule Rule, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken[rule] = append(l.broken[rule], fmt.Sprintf(format, args...))
}

func (l *Ledger) count(e Action) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[e]++
}

// Accepted returns the number of accepted jobs, and a channel that is closed when the next one is accepted.
func (l *Ledger) Accepted() (int, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.ends), l.accepted
}

// Ended returns the number of jobs whose end a client has seen.
func (l *Ledger) Ended() int {
	n := 0
	for _, status := range l.Ends() {
		if status != "" {
			n++
		}
	}
	return n
}

// Ends returns, for each accepted job, the terminal status that its client saw last, or "" if it saw
// none.
func (l *Ledger) Ends() map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.ends)
}

// Owners returns, for each accepted job, the number of its owner: an index of ClientOptions.Credentials.
func (l *Ledger) Owners() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.owners)
}

// Drops returns, by job, how many times a client saw the progress go back. Only a new attempt of the job may cause that.
func (l *Ledger) Drops() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.drops)
}

// Violations returns the descriptions of all violations of an invariant.
func (l *Ledger) Violations(rule Rule) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.broken[rule]...)
}

// Counts returns the number of each action.
func (l *Ledger) Counts() map[Action]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.counts)
}

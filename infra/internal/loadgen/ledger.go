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
	Answers  Rule = "every response is the expected one, or a refusal that says when to try again"
	Versions Rule = "no client is sent an older version of a job than before"
	Owners   Rule = "no client reads or changes a job or an upload of another owner"
	Durable  Rule = "the offset of an upload never goes back"
)

// Action is an action of a client, or a fault that was injected into its connection. The ledger counts
// actions.
type Action string

// The actions.
const (
	CutBody   Action = "upload cut in the middle"
	CutStream Action = "stream cut"
	Canceled  Action = "cancel"
	Retried   Action = "retry"
	Erased    Action = "erase"
	Intruded  Action = "request for another's job or upload"
	Resumed   Action = "resume"
)

// Ledger records the responses to clients. Its methods are safe for concurrent use.
type Ledger struct {
	mu       sync.Mutex
	ends     map[string]string  // the terminal status of an accepted job that was seen last, or "" before the first one
	promises map[string]Promise // the promises by accepted job
	lost     map[string]bool    // see Lost
	drops    map[string]int     // how many times a client saw the progress of a job go back
	broken   map[Rule][]string
	counts   map[Action]int
	accepted chan struct{} // closed, and replaced, when a job is accepted
}

func newLedger() *Ledger {
	return &Ledger{
		ends: map[string]string{}, promises: map[string]Promise{}, lost: map[string]bool{},
		drops: map[string]int{}, broken: map[Rule][]string{}, counts: map[Action]int{},
		accepted: make(chan struct{}),
	}
}

// Promise contains the properties of an accepted job that its client knows.
type Promise struct {
	Owner  int    // an index of ClientOptions.Credentials
	SHA256 string // SHA-256 of the recording, in hexadecimal
	Fresh  bool   // the client wants no cached result
}

func (l *Ledger) accept(job string, p Promise) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends[job], l.promises[job] = "", p
	close(l.accepted)
	l.accepted = make(chan struct{})
}

func (l *Ledger) end(job, status string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends[job] = status
}

// lose records that the file of a request may have become a job, since the request got no definite answer.
func (l *Ledger) lose(file string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost[file] = true
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

// Promises returns the promise of each accepted job.
func (l *Ledger) Promises() map[string]Promise {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.promises)
}

// Lost returns the names of files for which the client does not know whether the upload has become a job, since requests of
// resumable uploads have no idempotency key. The client has uploaded such a recording again.
func (l *Ledger) Lost() map[string]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.lost)
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

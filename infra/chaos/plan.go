package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/stack"
)

// action is what a fault does to its target.
type action string

// The actions, in groups by target: processes, responses of the analysis server, callbacks of the analysis server, and
// connections of clients.
const (
	kill    action = "kill"    // SIGKILL, and a start after the fault's duration
	pause   action = "pause"   // SIGSTOP, and SIGCONT after the fault's duration
	restart action = "restart" // SIGTERM, and a start after the exit

	refuse action = "refuse" // 503 with Retry-After
	fail   action = "fail"   // every analysis fails, and the client retries the job

	drop    action = "drop"
	delay   action = "delay"
	repeat  action = "repeat"
	reorder action = "reorder"

	cutBodies  action = "cut bodies"  // connections break in the middle of an upload
	cutStreams action = "cut streams" // connections break in the middle of a stream
)

// The targets that are not processes.
const (
	callbacks = "callbacks"
	clients   = "clients"
)

// kind is a kind of fault: an action on a target.
type kind struct {
	action action
	target string
}

// String returns the name of the kind.
func (k kind) String() string { return fmt.Sprintf("%s: %s", k.target, k.action) }

// replicas is the number of replicas of each service.
const replicas = 2

// fault is one fault of a plan.
type fault struct {
	kind
	replica int           // the index of the replica, if the target is a service
	after   int           // the number of accepted jobs after which the fault is injected
	lasts   time.Duration // the duration of the fault; ignored for a restart
}

// dependencies returns the parts on which the services depend.
func dependencies() []stack.Part { return []stack.Part{stack.NATS, stack.S3, stack.Postgres} }

// kinds lists every kind of fault.
func kinds() []kind {
	var kinds []kind
	for _, action := range []action{kill, pause, restart} {
		for _, name := range harness.Services() {
			kinds = append(kinds, kind{action, name})
		}
		for _, part := range dependencies() {
			kinds = append(kinds, kind{action, string(part)})
		}
	}
	for _, action := range []action{kill, pause, refuse, fail} {
		kinds = append(kinds, kind{action, harness.Analyzer})
	}
	for _, action := range []action{drop, delay, repeat, reorder} {
		kinds = append(kinds, kind{action, callbacks})
	}
	for _, action := range []action{cutBodies, cutStreams} {
		kinds = append(kinds, kind{action, clients})
	}
	return kinds
}

// drawPlan generates a plan with the given number of faults, evenly distributed over the given number of jobs. Every kind
// occurs once before any kind occurs again. The same seed gives the same plan, so that a failed run can be repeated.
func drawPlan(seed uint64, jobs, faults int) []fault {
	rng := rand.New(rand.NewPCG(seed, 0)) // the same seed gives the same plan, so that a run can be repeated
	var deck []kind
	plan := make([]fault, faults)
	for i := range plan {
		if len(deck) == 0 {
			deck = kinds()
			rng.Shuffle(len(deck), func(a, b int) { deck[a], deck[b] = deck[b], deck[a] })
		}
		f := fault{kind: deck[0], after: (i + 1) * jobs / (faults + 1), lasts: duration(rng)}
		if _, service := f.service(); service {
			f.replica = rng.IntN(replicas)
		}
		plan[i], deck = f, deck[1:]
	}
	return plan
}

// The durations of faults. Most are short, so that there are many faults. On average one in longOf faults lasts longer than the
// lease of a message (ten seconds), so that another replica handles the message while the first one still works on it.
const (
	shortest = 100 * time.Millisecond
	longest  = 2 * time.Second
	lease    = 12 * time.Second
	longOf   = 12 // one of longOf faults, on average, lasts as long as lease
)

func duration(rng *rand.Rand) time.Duration {
	if rng.IntN(longOf) == 0 {
		return lease
	}
	return shortest + time.Duration(rng.Int64N(int64(longest-shortest)))
}

func (f fault) service() (string, bool) {
	for _, name := range harness.Services() {
		if f.target == name {
			return name, true
		}
	}
	return "", false
}

// victim names the process or target of the fault. Faults with the same victim are never injected at the same time.
func (f fault) victim() string {
	if name, ok := f.service(); ok {
		return fmt.Sprintf("%s-%d", name, f.replica)
	}
	return f.target
}

// String describes the fault.
func (f fault) String() string {
	return fmt.Sprintf("%s: %s, for %v, after %d jobs", f.victim(), f.action, f.lasts.Round(time.Millisecond), f.after)
}

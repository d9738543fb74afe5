package experiment

import (
	"fmt"
	"math/rand/v2"
	"time"

	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/stack"
)

// Action is what a fault does to its target.
type Action string

// The actions, in groups by target: processes, responses of the analysis server, callbacks of the analysis server, and
// connections of clients.
const (
	Kill    Action = "kill"    // SIGKILL, and a start after the fault's duration
	Pause   Action = "pause"   // SIGSTOP, and SIGCONT after the fault's duration
	Restart Action = "restart" // SIGTERM, and a start after the exit

	Refuse Action = "refuse" // 503 with Retry-After
	Fail   Action = "fail"   // every analysis fails, and the client retries the job

	Drop    Action = "drop"
	Delay   Action = "delay"
	Repeat  Action = "repeat"
	Reorder Action = "reorder"

	CutBodies  Action = "cut bodies"  // connections break in the middle of an upload
	CutStreams Action = "cut streams" // connections break in the middle of a stream
)

// The targets that are not processes.
const (
	Callbacks = "callbacks"
	Clients   = "clients"
)

// Kind is a kind of fault: an action on a target.
type Kind struct {
	Action Action
	Target string
}

// String returns the name of the kind.
func (k Kind) String() string { return fmt.Sprintf("%s: %s", k.Target, k.Action) }

// replicas is the number of replicas of each service.
const replicas = 2

// Fault is one fault of a plan.
type Fault struct {
	Kind
	Replica int           // the index of the replica, if the target is a service
	After   int           // the number of accepted jobs after which the fault is injected
	Lasts   time.Duration // the duration of the fault; ignored for a restart
}

// dependencies returns the parts on which the services depend.
func dependencies() []stack.Part { return []stack.Part{stack.NATS, stack.S3, stack.Postgres} }

// Kinds lists every kind of fault.
func Kinds() []Kind {
	var kinds []Kind
	for _, action := range []Action{Kill, Pause, Restart} {
		for _, name := range harness.Services() {
			kinds = append(kinds, Kind{action, name})
		}
		for _, part := range dependencies() {
			kinds = append(kinds, Kind{action, string(part)})
		}
	}
	for _, action := range []Action{Kill, Pause, Refuse, Fail} {
		kinds = append(kinds, Kind{action, harness.Analyzer})
	}
	for _, action := range []Action{Drop, Delay, Repeat, Reorder} {
		kinds = append(kinds, Kind{action, Callbacks})
	}
	for _, action := range []Action{CutBodies, CutStreams} {
		kinds = append(kinds, Kind{action, Clients})
	}
	return kinds
}

// DrawPlan generates a plan with the given number of faults, evenly distributed over the given number of jobs. Every kind
// occurs once before any kind occurs again. The same seed gives the same plan, so that a failed run can be repeated.
func DrawPlan(seed uint64, jobs, faults int) []Fault {
	rng := rand.New(rand.NewPCG(seed, 0)) // the same seed gives the same plan, so that a run can be repeated
	var deck []Kind
	plan := make([]Fault, faults)
	for i := range plan {
		if len(deck) == 0 {
			deck = Kinds()
			rng.Shuffle(len(deck), func(a, b int) { deck[a], deck[b] = deck[b], deck[a] })
		}
		f := Fault{Kind: deck[0], After: (i + 1) * jobs / (faults + 1), Lasts: duration(rng)}
		if _, service := f.service(); service {
			f.Replica = rng.IntN(replicas)
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

func (f Fault) service() (string, bool) {
	for _, name := range harness.Services() {
		if f.Target == name {
			return name, true
		}
	}
	return "", false
}

// Victim names the process or target of the fault. Faults with the same victim are never injected at the same time.
func (f Fault) Victim() string {
	if name, ok := f.service(); ok {
		return fmt.Sprintf("%s-%d", name, f.Replica)
	}
	return f.Target
}

// String describes the fault.
func (f Fault) String() string {
	return fmt.Sprintf("%s: %s, for %v, after %d jobs", f.Victim(), f.Action, f.Lasts.Round(time.Millisecond), f.After)
}

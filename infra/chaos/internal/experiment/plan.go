package experiment

import (
	"fmt"
	"math/rand/v2"
	"time"

	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/stack"
)

// Action is what may happen.
type Action string

// The actions. The first three happen to processes; the next two are what the analysis server does to those who ask it; then
// come those that happen to its callbacks, and at last those of clients.
const (
	Kill    Action = "kill"    // SIGKILL, and a start after a while
	Pause   Action = "pause"   // SIGSTOP, and SIGCONT after a while
	Restart Action = "restart" // SIGTERM, and a start when it is gone

	Refuse Action = "refuse" // 503 with Retry-After
	Fail   Action = "fail"   // every analysis fails, and is retried by its client

	Drop    Action = "drop"
	Delay   Action = "delay"
	Repeat  Action = "repeat"
	Reorder Action = "reorder"

	CutBodies  Action = "cut bodies"  // connections end in the middle of an upload
	CutStreams Action = "cut streams" // and of a stream
)

// The targets that are no processes.
const (
	Callbacks = "callbacks"
	Clients   = "clients"
)

// Kind is a sort of fault.
type Kind struct {
	Action Action
	Target string
}

// String names the kind.
func (k Kind) String() string { return fmt.Sprintf("%s: %s", k.Target, k.Action) }

// replicas is how many processes there are of each service.
const replicas = 2

// Fault is one thing that goes wrong.
type Fault struct {
	Kind
	Copy  int           // of the target, where it has several
	After int           // it happens when so many jobs were accepted
	Lasts time.Duration // a restart lasts as long as it takes
}

// dependencies are the parts that the services depend on.
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

// DrawPlan makes a plan of so many faults, spread over so many jobs. Every kind comes before any comes again. The same
// seed gives the same plan, so that a run that failed can be made again.
func DrawPlan(seed uint64, jobs, faults int) []Fault {
	rng := rand.New(rand.NewPCG(seed, 0)) // repeatable on purpose
	var deck []Kind
	plan := make([]Fault, faults)
	for i := range plan {
		if len(deck) == 0 {
			deck = Kinds()
			rng.Shuffle(len(deck), func(a, b int) { deck[a], deck[b] = deck[b], deck[a] })
		}
		f := Fault{Kind: deck[0], After: (i + 1) * jobs / (faults + 1), Lasts: duration(rng)}
		if _, service := f.service(); service {
			f.Copy = rng.IntN(replicas)
		}
		plan[i], deck = f, deck[1:]
	}
	return plan
}

// The lengths of faults. Most are short, so that there are many; some outlive the lease of what was in hand (ten seconds), which
// then is done elsewhere while whoever had it still believes in it.
const (
	shortest = 100 * time.Millisecond
	longest  = 2 * time.Second
	lease    = 12 * time.Second
	longOf   = 12 // of so many faults one is so long
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

// Victim is what the fault happens to: of faults with the same one there is never more than one at a time.
func (f Fault) Victim() string {
	if name, ok := f.service(); ok {
		return fmt.Sprintf("%s-%d", name, f.Copy)
	}
	return f.Target
}

// String tells what happens.
func (f Fault) String() string {
	return fmt.Sprintf("%s: %s, for %v, after %d jobs", f.Victim(), f.Action, f.Lasts.Round(time.Millisecond), f.After)
}

// Command chaos checks by fault injection that Sori loses nothing that it has accepted:
//
//	go run ./infra/chaos [-seed N] [-jobs 5000] [-faults 210]
//
// It starts everything on this machine, with two replicas of each of the four services. Clients use Sori while a plan, which is
// generated from the seed, kills, pauses and restarts processes and injects other faults. Then it checks every invariant.
// README.md lists them.
package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"sori.internal/infra/internal/command"
	"sori.internal/infra/internal/stack/parts"
)

func main() {
	if ran, code := parts.RunChild(); ran {
		os.Exit(code)
	}
	os.Exit(command.Main(func(ctx context.Context, args []string) int { return command.Exit("chaos", run(ctx, args)) }))
}

// linger is how long to wait until idle connections are closed. It is longer than the idle timeout of net/http, 90 s.
const linger = 100 * time.Second

// sweep is how long to wait until a service without other work has removed what interrupted uploads left behind.
const sweep = time.Minute

func run(ctx context.Context, args []string) (err error) {
	var opt options
	if _, err := command.Parse("chaos", &opt, args, os.Stderr); err != nil {
		return err
	}
	opt.Linger, opt.Sweep = linger, sweep
	if opt.Seed == 0 {
		opt.Seed = rand.Uint64() >> 32
	}
	opt.Say = func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
	}
	o := newExperiment(opt)
	r, err := o.perform(ctx)
	if err == nil {
		err = r.print(os.Stdout)
	}
	if n := r.violated(); n > 0 {
		err = errors.Join(err, fmt.Errorf("%d invariants are violated; repeat with: go run ./infra/chaos -seed %d -jobs %d -faults %d -clients %d",
			n, opt.Seed, opt.Jobs, opt.Faults, opt.Clients))
	}
	if err != nil || opt.Keep {
		opt.Say("data and logs are in %s", o.dir)
		return err
	}
	return o.remove()
}

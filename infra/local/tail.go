package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"sori.internal/infra/internal/connect"
	"sori.internal/infra/internal/tail"
	"sori.internal/shared/config"
)

// runTail shows what passes on the bus of a Sori that runs here; `sorictl tail`
// does the same for any.
func runTail(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("local tail", flag.ContinueOnError)
	dir := flags.String("dir", connect.DefaultDir, "the folder that keeps the state")
	o := tail.Flags(flags)
	rest, err := connect.Parse(flags, args)
	if err != nil {
		return err
	}
	if len(rest) > 1 {
		return unexpected(rest[1:])
	}
	if len(rest) == 1 {
		o.Subject = rest[0]
	}
	at, err := connect.Read(*dir)
	if err != nil {
		return err
	}
	namespace := os.Getenv("NATS_NAMESPACE")
	var cfg tail.Config
	if err := config.Load(config.Map(map[string]string{"NATS_URL": at.NATS, "NATS_NAMESPACE": namespace}), &cfg); err != nil {
		return err
	}
	return tail.Run(ctx, cfg, *o, os.Stdout, func() { fmt.Fprintf(os.Stderr, "listening on %s\n", at.NATS) })
}

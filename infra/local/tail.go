package main

import (
	"context"
	"fmt"
	"os"

	"sori.internal/infra/internal/command"
	"sori.internal/infra/internal/tail"
	"sori.internal/shared/config"
)

type tailCommand struct{ tail.Options }

// Run prints the events of a Sori that runs on this machine. `sorictl tail` does the same for any installation.
func (c *tailCommand) Run(ctx context.Context, o options) error {
	at, err := command.Read(o.Dir)
	if err != nil {
		return err
	}
	namespace := os.Getenv(namespaceSetting)
	var cfg tail.Config
	if err := config.Load(config.Map(map[string]string{"NATS_URL": at.NATS, namespaceSetting: namespace}), &cfg); err != nil {
		return err
	}
	return tail.Run(ctx, cfg, c.Options, os.Stdout, func(text string) { fmt.Fprintf(os.Stderr, "%s: %s\n", withoutUser(at.NATS), text) })
}

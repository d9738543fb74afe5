package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"sori.internal/infra/internal/command"
)

type secretsCommand struct {
	Example string `default:".env.example" help:"the file that describes the settings"`
	File    string `default:".env" help:"the file to write"`
}

// Run writes random secrets into the settings of docker-compose.yml. It creates the file from the
// example, or adds what an existing file lacks. It prints names, and no secret.
func (c *secretsCommand) Run(t terminal) error {
	example, err := os.ReadFile(c.Example)
	if err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	present, err := os.ReadFile(c.File)
	created := errors.Is(err, fs.ErrNotExist)
	if created {
		present = example
	} else if err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	filled, made := command.FillSecrets(string(example), string(present))
	if len(made) == 0 {
		fmt.Fprintf(t.out, "%s has all secrets\n", c.File)
		return nil
	}
	if err := os.WriteFile(c.File+".new", []byte(filled), 0o600); err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	if err := os.Rename(c.File+".new", c.File); err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	for _, name := range made {
		fmt.Fprintf(t.out, "created  %s\n", name)
	}
	if !created && slices.Contains(made, "POSTGRES_PASSWORD") {
		fmt.Fprintln(t.errs, "sorictl: an existing database keeps its old password: change it there too, as .env.example describes")
	}
	return nil
}

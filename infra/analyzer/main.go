// Command analyzer is the reference analysis server: it fetches audio, measures it, and sends callbacks. Its settings
// are environment variables, which README.md lists.
package main

import (
	"context"
	"os"

	"sori.internal/infra/analyzer/app"
	"sori.internal/shared/lifecycle"
)

func main() {
	if ran, code := app.RunChild(); ran {
		os.Exit(code)
	}
	os.Exit(lifecycle.Main(func(ctx context.Context, p lifecycle.Process) error {
		return app.Run(ctx, p.Lookup, p.Stderr)
	}, &app.Config{}))
}

// Command analyzer is the reference analysis server: it fetches recordings, measures them, and sends callbacks. README.md
// lists its settings, which are environment variables.
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

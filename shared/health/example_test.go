package health_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/rs/zerolog"

	"sori.internal/shared/health"
)

func Example() {
	process := health.New(map[string]health.Check{
		"bus":      func(context.Context) error { return errors.New("connection refused") },
		"database": func(context.Context) error { return nil },
	}, zerolog.Nop())
	process.Started()
	fmt.Println(process.Ready(context.Background()))
	// Output:
	// false map[bus:unavailable database:ok]
}

package lifecycle_test

import (
	"context"
	"errors"
	"fmt"

	"sori.internal/shared/lifecycle"
)

// When one part fails, the others are stopped and waited for.
func ExampleRun() {
	consumer := func(ctx context.Context) error {
		<-ctx.Done()
		fmt.Println("work in hand is finished")
		return nil
	}
	server := func(context.Context) error { return errors.New("listen: address in use") }

	fmt.Println(lifecycle.Run(context.Background(), consumer, server))
	// Output:
	// work in hand is finished
	// listen: address in use
}

package lifecycle_test

import (
	"context"
	"errors"
	"fmt"

	"sori.internal/shared/lifecycle"
)

// When one component fails, the others are stopped, and Run waits for them.
func ExampleRun() {
	consumer := func(ctx context.Context) error {
		<-ctx.Done()
		fmt.Println("consumer finished its work")
		return nil
	}
	server := func(context.Context) error { return errors.New("listen: address in use") }

	fmt.Println(lifecycle.Run(context.Background(), consumer, server))
	// Output:
	// consumer finished its work
	// listen: address in use
}

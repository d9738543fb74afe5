package processlimit_test

import (
	"context"
	"os"
	"time"

	"sori.internal/shared/processlimit"
)

func ExampleWatch() {
	stop := processlimit.Watch(context.Background(), 10*time.Second, func() { os.Exit(1) })
	defer stop()
	// Here is work that cannot be interrupted.

	// Output:
}

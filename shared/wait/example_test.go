package wait_test

import (
	"context"
	"fmt"
	"time"

	"sori.internal/shared/wait"
)

func ExampleRepeat() {
	ctx, cancel := context.WithCancel(context.Background())
	sweeps := 0
	err := wait.Repeat(ctx, func(context.Context) time.Duration {
		sweeps++
		if sweeps == 3 {
			cancel()
		}
		return wait.Jitter(time.Millisecond)
	})
	fmt.Println(sweeps, err)
	// Output: 3 <nil>
}

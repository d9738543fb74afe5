package membound_test

import (
	"context"
	"fmt"

	"sori.internal/shared/membound"
)

func ExampleBound_Acquire() {
	answers := membound.New(64 << 20)
	lease, err := answers.Acquire(context.Background(), "alice", 8<<20) // the largest size that the response can have
	if err != nil {
		fmt.Println(err)
		return
	}
	defer lease.Release() // runs when the response is sent
	lease.Shrink(1 << 20) // the actual size of the response
	fmt.Println("sent")
	// Output: sent
}

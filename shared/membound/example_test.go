package membound_test

import (
	"context"
	"fmt"

	"sori.internal/shared/membound"
)

func ExampleBound_Acquire() {
	answers := membound.New(64 << 20)
	lease, err := answers.Acquire(context.Background(), "alice", 8<<20) // the most that the answer can need
	if err != nil {
		fmt.Println(err)
		return
	}
	defer lease.Release() // when the answer is sent
	lease.Shrink(1 << 20) // to the bytes that the answer needs
	fmt.Println("sent")
	// Output: sent
}

package minrate_test

import (
	"fmt"
	"time"

	"sori.internal/shared/minrate"
)

// A transfer of at least 1000 bytes per second that may be late by 5 seconds.
func Example() {
	m := minrate.Limit{BytesPerSecond: 1000, Lag: 5 * time.Second}.Meter()
	fmt.Println(m.Remaining(0))
	m.Add(1000, 4*time.Second) // 3 seconds late
	fmt.Println(m.Remaining(0))
	m.Add(3000, time.Second) // 1 second late
	fmt.Println(m.Remaining(0))
	// Output:
	// 5s
	// 2s
	// 4s
}

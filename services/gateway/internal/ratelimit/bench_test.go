package ratelimit_test

import (
	"fmt"
	"testing"
	"time"

	"sori.internal/services/gateway/internal/ratelimit"
)

// benchmark calls f from all processors, each time for another of 1024 clients.
func benchmark(b *testing.B, f func(client string)) {
	b.Helper()
	clients := make([]string, 1024)
	for i := range clients {
		clients[i] = fmt.Sprintf("203.0.%d.%d", i/256, i%256)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			f(clients[i%len(clients)])
		}
	})
}

func BenchmarkTake(b *testing.B) {
	r := ratelimit.NewSet("").NewRate("address", "requests", 1<<40, 10*time.Second)
	benchmark(b, func(client string) { _, _ = r.Take(client, time.Now()) })
}

func BenchmarkAcquire(b *testing.B) {
	c := ratelimit.NewSet("").NewConcurrency("streams", 1<<40)
	benchmark(b, func(client string) {
		if release, err := c.Acquire(client); err == nil {
			release()
		}
	})
}

package stack_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/rs/zerolog"

	"sori.internal/infra/internal/stack"
)

// parentVariable contains a state folder. If it is set, the test binary runs a stack in that folder until it is killed.
const parentVariable = "SORI_TEST_PARENT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(parentVariable); dir != "" {
		os.Exit(parent(dir))
	}
	os.Exit(stack.Main(m))
}

// hello is the message that the parent prints when its stack is ready.
type hello struct {
	stack.Endpoints
	PIDs []int
}

// parent runs a stack until it is killed.
func parent(dir string) int {
	s, err := stack.Start(context.Background(), stack.Options{Dir: dir, Log: zerolog.Nop()})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	h := hello{Endpoints: s.Endpoints, PIDs: []int{s.PID(stack.NATS), s.PID(stack.S3), s.PID(stack.Postgres)}}
	if err = json.NewEncoder(os.Stdout).Encode(h); err != nil {
		return 1
	}
	select {}
}

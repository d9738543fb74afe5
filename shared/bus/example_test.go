package bus_test

import (
	"errors"
	"fmt"

	"sori.internal/shared/bus"
	"sori.internal/shared/fault"
)

// What a handler returns decides what becomes of its message.
func ExampleVerdictOn() {
	for _, err := range []error{
		nil,
		fault.Unreachable("storage", errors.New("connection refused")),
		fault.New(fault.Invalid, "result-malformed", "The result is not JSON."),
	} {
		fmt.Println(bus.VerdictOn(err, 1))
	}
	defect := errors.New("index out of range")
	fmt.Println(bus.VerdictOn(defect, 1), "at first,", bus.VerdictOn(defect, 10), "after ten deliveries")
	// Output:
	// ack
	// retry
	// bury
	// retry at first, bury after ten deliveries
}

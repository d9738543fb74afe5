package bus_test

import (
	"context"
	"errors"
	"fmt"

	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
)

// The error that a handler returns decides how its message is settled.
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

// A consumer that handles one type of event needs no type assertion.
func ExampleConsumerOf() {
	c := bus.ConsumerOf(bus.Consumer{Name: "uploader", Concurrency: 4}, func(_ context.Context, e event.Received, d bus.Delivery) error {
		fmt.Println("delivery", d.Attempt, "of", e.FileName)
		return nil
	})
	err := c.Handle(context.Background(), bus.Delivery{Event: event.Received{FileName: "voice.wav"}, Attempt: 1})
	fmt.Println(err, c.Name, c.Filters)
	// Output:
	// delivery 1 of voice.wav
	// <nil> uploader-received [audio.jobs.*.received]
}

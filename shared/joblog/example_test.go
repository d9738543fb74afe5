package joblog_test

import (
	"fmt"

	"sori.internal/shared/event"
)

// Update appends the event that a function of the log returns:
//
//	log, err := logs.Update(ctx, job, nil, cancel)
//
// The function is called again with the newer log if another writer was first.
func Example() {
	received := event.Log{{Event: event.Received{JobID: "7"}, Seq: 10}}
	e, _ := cancel(received)
	fmt.Println(e.Name(), "expects the sequence", received.Seq())
	completed := append(received, event.Record{Event: event.Completed{JobID: "7", Attempt: 1}, Seq: 14})
	e, _ = cancel(completed)
	fmt.Println("after the end:", e)
	// Output:
	// canceled expects the sequence 10
	// after the end: <nil>
}

// cancel cancels a job that has not ended.
func cancel(log event.Log) (event.Event, error) {
	if _, ended := log.Terminal(); ended || len(log) == 0 {
		return nil, nil
	}
	return event.Canceled{JobID: log[0].Event.Job()}, nil
}

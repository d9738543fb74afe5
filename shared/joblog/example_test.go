package joblog_test

import (
	"context"
	"fmt"

	"sori.internal/shared/event"
	"sori.internal/shared/joblog"
)

// cancelJob appends canceled to a job's log, unless the job has ended.
func cancelJob(ctx context.Context, logs *joblog.Store, job string) error {
	_, err := logs.Update(ctx, job, nil, cancelRule)
	return err
}

// What Update appends is decided by a function of the log. It is called again with the newer log if
// another writer was first.
func Example() {
	received := event.Log{{Event: event.Received{JobID: "7"}, Seq: 10}}
	e, _ := cancelRule(received)
	fmt.Println(e.Name(), "expects the sequence", received.Seq())
	completed := append(received, event.Record{Event: event.Completed{JobID: "7", Attempt: 1}, Seq: 14})
	e, _ = cancelRule(completed)
	fmt.Println("after the end:", e)
	// Output:
	// canceled expects the sequence 10
	// after the end: <nil>
}

// cancelRule cancels a job that has not ended.
func cancelRule(log event.Log) (event.Event, error) {
	if _, ended := log.Terminal(); ended || len(log) == 0 {
		return nil, nil
	}
	return event.Canceled{JobID: log[0].Event.Job()}, nil
}

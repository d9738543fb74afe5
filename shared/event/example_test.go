package event_test

import (
	"fmt"

	"sori.internal/shared/event"
)

// The subject, the id and the type of an event are computed from the event alone.
func Example() {
	e := event.Attempted{JobID: "01890a5d-ac96-774b-bcce-b302099a8057", Attempt: 2}
	fmt.Println(event.Subject(e))
	fmt.Println(event.ID(e))
	fmt.Println(event.Type(e.Name()))

	decoded, err := event.Decode(event.Subject(e), []byte(`{"job_id": "01890a5d-ac96-774b-bcce-b302099a8057", "attempt": 2}`))
	fmt.Println(decoded == e, err)
	// Output:
	// audio.jobs.01890a5d-ac96-774b-bcce-b302099a8057.attempted
	// 01890a5d-ac96-774b-bcce-b302099a8057.attempted.2
	// audio.job.attempted.v1
	// true <nil>
}

// A job's log shows whether the job has ended, and which attempt is the newest.
func ExampleLog() {
	log := event.Log{
		{Event: event.Received{JobID: job}, Seq: 10},
		{Event: event.Stored{JobID: job, Key: "audio/voice.wav"}, Seq: 12},
		{Event: event.Attempted{JobID: job, Attempt: 1}, Seq: 13},
		{Event: event.Failed{JobID: job, Attempt: 1, Code: "no-audio"}, Seq: 17},
	}
	terminal, ended := log.Terminal()
	stored, _ := event.Last[event.Stored](log)
	fmt.Println(ended, terminal.Name(), log.Attempt())
	fmt.Println(stored.Key)
	fmt.Println("the next event expects sequence", log.Seq())
	// Output:
	// true failed 1
	// audio/voice.wav
	// the next event expects sequence 17
}

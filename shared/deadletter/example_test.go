package deadletter_test

import (
	"encoding/json"
	"fmt"
	"time"

	"sori.internal/shared/deadletter"
)

// Operators read a dead letter as JSON, without the body of the event, which may be large.
func ExampleDeadLetter() {
	text, err := json.MarshalIndent(deadletter.DeadLetter{
		Seq: 3, Consumer: "dispatcher-stored", Subject: "audio.jobs.01890a5d-ac96-774b-bcce-b302099a8057.stored", EventSeq: 120,
		Job: "01890a5d-ac96-774b-bcce-b302099a8057", Code: "reference-invalid", Reason: "The reference names no object.",
		Deliveries: 1, At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Body: []byte(`{"job_id":"…"}`),
	}, "", "  ")
	fmt.Println(string(text), err)
	// Output:
	// {
	//   "seq": 3,
	//   "consumer": "dispatcher-stored",
	//   "subject": "audio.jobs.01890a5d-ac96-774b-bcce-b302099a8057.stored",
	//   "event_seq": 120,
	//   "job_id": "01890a5d-ac96-774b-bcce-b302099a8057",
	//   "code": "reference-invalid",
	//   "reason": "The reference names no object.",
	//   "deliveries": 1,
	//   "buried": "2026-01-02T03:04:05Z"
	// } <nil>
}

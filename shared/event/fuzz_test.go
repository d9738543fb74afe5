package event_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"sori.internal/shared/event"
)

// Whatever subject and body a message has: if Decode returns an event, the event has this subject,
// and encoding and decoding it again does not change it.
func FuzzDecode(f *testing.F) {
	for _, e := range samples() {
		body, err := json.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(event.Subject(e), body)
	}
	f.Add("audio.jobs."+job+".completed", []byte(`{"job_id":"`+job+`","attempt":-1,"result":`))
	f.Add("audio.jobs..received", []byte("null"))
	f.Fuzz(func(t *testing.T, subject string, body []byte) {
		e, err := event.Decode(subject, body)
		if err != nil {
			return
		}
		if event.Subject(e) != subject {
			t.Fatalf("%q became an event of %q", subject, event.Subject(e))
		}
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatalf("%+v cannot be published: %v", e, err)
		}
		again, err := event.Decode(subject, text)
		if err != nil {
			t.Fatalf("%s is no event any more: %v", text, err)
		}
		if once, err := json.Marshal(again); err != nil || !reflect.DeepEqual(once, text) {
			t.Errorf("%s became %s, %v", text, once, err)
		}
	})
}

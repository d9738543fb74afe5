package app_test

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

func readiness(t *testing.T, url string, want int) {
	t.Helper()
	testkit.Eventually(t, func() error {
		if code, body := get(t, url+"/readyz"); code != want {
			return fmt.Errorf("readiness is %d %v", code, body)
		}
		return nil
	})
}

func TestWhileStorageIsAwayUploadsWaitAndThenGoOn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	proxy := r.Proxy(r.Settings(nil)["S3_ENDPOINT"])
	i := r.run(map[string]string{"S3_ENDPOINT": proxy.URL})
	readiness(t, i.URL, http.StatusOK)
	held := proxy.Hold(1 << 20)
	body := wav(2 << 20)
	cut := r.upload(body) // is being copied when the storage goes
	<-held
	proxy.Cut()
	later := r.upload(body) // comes while it is away
	readiness(t, i.URL, http.StatusServiceUnavailable)
	if code, _ := get(t, i.URL+"/livez"); code != http.StatusOK {
		t.Errorf("livez: %d", code)
	}
	for _, e := range []event.Received{cut, later} {
		if story := r.Story(r.bus, e.JobID); !slices.Equal(story, []event.Name{event.NameReceived}) {
			t.Errorf("while the storage is away: %v", story)
		}
	}
	proxy.Mend()
	for _, e := range []event.Received{cut, later} {
		stored := testkit.Await[event.Stored](r.Kit, r.bus, e.JobID)
		if got, _ := r.object(stored.Key); !bytes.Equal(got, body) {
			t.Error("the object differs")
		}
	}
	readiness(t, i.URL, http.StatusOK)
	r.Settled(consumer)
	r.nothingStaged()
	if dead := r.Letters(event.Dead()); len(dead) > 0 {
		t.Errorf("dead letters %+v", dead)
	}
}

// One body is more than what connections hold on their way, so that its copy cannot
// even be written; the other's waits for its answer.
func TestAStorageThatStandsStillHoldsNoSlotForLong(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	proxy := r.Proxy(r.Settings(nil)["S3_ENDPOINT"])
	i := r.run(map[string]string{"S3_ENDPOINT": proxy.URL, "S3_STALL_TIMEOUT": "500ms", "UPLOAD_CONCURRENCY": "1"})
	r.Settled(consumer)
	held := proxy.Hold(1 << 20)
	bodies := [][]byte{wav(32 << 20), wav(2 << 20), wav(32 << 20), wav(2 << 20)}
	var jobs []event.Received
	for _, body := range bodies {
		jobs = append(jobs, r.upload(body))
	}
	<-held
	for _, e := range jobs { // which all need the one slot
		testkit.Eventually(t, func() error {
			m, err := r.bus.Last(r.Context(), event.Jobs(), event.Subject(event.Uploading{JobID: e.JobID}))
			if err == nil && m == nil {
				err = fmt.Errorf("nobody tries to copy job %s", e.JobID)
			}
			return err
		})
		if story := r.Story(r.bus, e.JobID); !slices.Equal(story, []event.Name{event.NameReceived}) {
			t.Errorf("while the storage stands still: %v", story)
		}
	}
	readiness(t, i.URL, http.StatusServiceUnavailable)
	proxy.Mend()
	for n, e := range jobs {
		stored := testkit.Await[event.Stored](r.Kit, r.bus, e.JobID)
		if got, _ := r.object(stored.Key); !bytes.Equal(got, bodies[n]) {
			t.Error("the object differs")
		}
	}
	r.Settled(consumer)
	r.nothingStaged()
	if keys, dead := r.keys(), r.Letters(event.Dead()); len(keys) != len(jobs) || len(dead) > 0 {
		t.Errorf("keys %v, dead letters %+v", keys, dead)
	}
}

func TestItStartsWhileItsDependenciesAreAway(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	settings := r.Settings(nil)
	s3, bus := r.Proxy(settings["S3_ENDPOINT"]), r.Proxy(settings["NATS_URL"])
	s3.Cut()
	bus.Cut()
	i := r.run(map[string]string{"S3_ENDPOINT": s3.URL, "NATS_URL": bus.URL})
	readiness(t, i.URL, http.StatusServiceUnavailable)
	e := r.upload(wav(1044))
	bus.Mend()
	s3.Mend()
	testkit.Await[event.Stored](r.Kit, r.bus, e.JobID)
	readiness(t, i.URL, http.StatusOK)
}

func TestWhileTheBusIsAwayUploadsWaitAndThenGoOn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	bus := r.Proxy(r.Settings(nil)["NATS_URL"])
	i := r.run(map[string]string{"NATS_URL": bus.URL})
	readiness(t, i.URL, http.StatusOK)
	bus.Cut()
	body := wav(2 << 20)
	e := r.upload(body)
	readiness(t, i.URL, http.StatusServiceUnavailable)
	bus.Mend()
	stored := testkit.Await[event.Stored](r.Kit, r.bus, e.JobID)
	if got, _ := r.object(stored.Key); !bytes.Equal(got, body) {
		t.Error("the object differs")
	}
}

func TestAStopFinishesTheCopyInHand(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	proxy := r.Proxy(r.Settings(nil)["S3_ENDPOINT"])
	i := r.run(map[string]string{"S3_ENDPOINT": proxy.URL})
	r.Settled(consumer)
	held := proxy.Hold(1 << 20)
	body := wav(2 << 20)
	e := r.upload(body)
	<-held
	done := stopping(i)
	select {
	case <-done:
		t.Error("it stopped in the middle of a copy")
	default:
	}
	proxy.Mend()
	within(r.Context(), t, done)
	if story := r.Story(r.bus, e.JobID); !slices.Equal(story, []event.Name{event.NameReceived, event.NameStored}) {
		t.Errorf("story %v", story)
	}
	if got, _ := r.object(key(e)); !bytes.Equal(got, body) {
		t.Error("the object differs")
	}
}

func TestACopyThatOutlastsTheStopIsDoneByAnother(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	proxy := r.Proxy(r.Settings(nil)["S3_ENDPOINT"])
	first := r.run(map[string]string{"S3_ENDPOINT": proxy.URL, "SHUTDOWN_GRACE": "200ms"})
	r.Settled(consumer)
	held := proxy.Hold(1 << 20)
	body := wav(2 << 20)
	e := r.upload(body)
	<-held
	within(r.Context(), t, stopping(first))
	if story := r.Story(r.bus, e.JobID); !slices.Equal(story, []event.Name{event.NameReceived}) {
		t.Errorf("after the stop: %v", story)
	}
	r.run(nil)
	testkit.Await[event.Stored](r.Kit, r.bus, e.JobID)
	if got, _ := r.object(key(e)); !bytes.Equal(got, body) {
		t.Error("the object differs")
	}
}

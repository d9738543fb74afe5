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

func TestWhileS3IsUnavailableUploadsWaitAndThenGoOn(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	proxy := env.Proxy(env.Settings(nil)["S3_ENDPOINT"])
	i := env.run(map[string]string{"S3_ENDPOINT": proxy.URL})
	readiness(t, i.URL, http.StatusOK)
	held := proxy.Hold(1 << 20)
	body := wav(2 << 20)
	cut := env.upload(body) // its copy is interrupted by the outage
	<-held
	proxy.Cut()
	later := env.upload(body) // its copy begins during the outage
	readiness(t, i.URL, http.StatusServiceUnavailable)
	if code, _ := get(t, i.URL+"/livez"); code != http.StatusOK {
		t.Errorf("livez: %d", code)
	}
	for _, e := range []event.Received{cut, later} {
		if names := env.EventNames(env.bus, e.JobID); !slices.Equal(names, []event.Name{event.NameReceived}) {
			t.Errorf("while S3 is unavailable: %v", names)
		}
	}
	proxy.Restore()
	for _, e := range []event.Received{cut, later} {
		stored := testkit.Await[event.Stored](env.Kit, env.bus, e.JobID)
		if got, _ := env.object(stored.Key); !bytes.Equal(got, body) {
			t.Error("the object differs")
		}
	}
	readiness(t, i.URL, http.StatusOK)
	env.Settled(consumer)
	env.nothingStaged()
	if dead := env.Messages(event.Dead()); len(dead) > 0 {
		t.Errorf("dead letters %+v", dead)
	}
}

// S3 stops reading and answering. With a large body the write stalls, since the body does not fit
// into the buffers of the connection. With a small body the wait for the answer stalls. Both must
// end soon.
func TestAnS3ServerThatStallsBlocksNoCopyForLong(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	proxy := env.Proxy(env.Settings(nil)["S3_ENDPOINT"])
	i := env.run(map[string]string{"S3_ENDPOINT": proxy.URL, "S3_STALL_TIMEOUT": "500ms", "UPLOAD_CONCURRENCY": "1"})
	env.Settled(consumer)
	held := proxy.Hold(1 << 20)
	bodies := [][]byte{wav(32 << 20), wav(2 << 20), wav(32 << 20), wav(2 << 20)}
	var jobs []event.Received
	for _, body := range bodies {
		jobs = append(jobs, env.upload(body))
	}
	<-held
	for _, e := range jobs { // one copy at a time: each job gets its turn although all copies stall
		testkit.Eventually(t, func() error {
			m, err := env.bus.Stream(event.Jobs()).Last(env.Context(), event.Subject(event.Uploading{JobID: e.JobID}))
			if err == nil && m == nil {
				err = fmt.Errorf("no replica copies job %s", e.JobID)
			}
			return err
		})
		if names := env.EventNames(env.bus, e.JobID); !slices.Equal(names, []event.Name{event.NameReceived}) {
			t.Errorf("while S3 stalls: %v", names)
		}
	}
	readiness(t, i.URL, http.StatusServiceUnavailable)
	proxy.Restore()
	for n, e := range jobs {
		stored := testkit.Await[event.Stored](env.Kit, env.bus, e.JobID)
		if got, _ := env.object(stored.Key); !bytes.Equal(got, bodies[n]) {
			t.Error("the object differs")
		}
	}
	env.Settled(consumer)
	env.nothingStaged()
	if keys, dead := env.keys(), env.Messages(event.Dead()); len(keys) != len(jobs) || len(dead) > 0 {
		t.Errorf("keys %v, dead letters %+v", keys, dead)
	}
}

func TestItStartsWhileItsDependenciesAreUnavailable(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	settings := env.Settings(nil)
	s3, bus := env.Proxy(settings["S3_ENDPOINT"]), env.Proxy(settings["NATS_URL"])
	s3.Cut()
	bus.Cut()
	i := env.run(map[string]string{"S3_ENDPOINT": s3.URL, "NATS_URL": bus.URL})
	readiness(t, i.URL, http.StatusServiceUnavailable)
	e := env.upload(wav(1044))
	bus.Restore()
	s3.Restore()
	testkit.Await[event.Stored](env.Kit, env.bus, e.JobID)
	readiness(t, i.URL, http.StatusOK)
}

func TestWhileNATSIsUnavailableUploadsWaitAndThenGoOn(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	bus := env.Proxy(env.Settings(nil)["NATS_URL"])
	i := env.run(map[string]string{"NATS_URL": bus.URL})
	readiness(t, i.URL, http.StatusOK)
	bus.Cut()
	body := wav(2 << 20)
	e := env.upload(body)
	readiness(t, i.URL, http.StatusServiceUnavailable)
	bus.Restore()
	stored := testkit.Await[event.Stored](env.Kit, env.bus, e.JobID)
	if got, _ := env.object(stored.Key); !bytes.Equal(got, body) {
		t.Error("the object differs")
	}
}

func TestAShutdownFinishesTheCopyThatIsUnderWay(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	proxy := env.Proxy(env.Settings(nil)["S3_ENDPOINT"])
	i := env.run(map[string]string{"S3_ENDPOINT": proxy.URL})
	env.Settled(consumer)
	held := proxy.Hold(1 << 20)
	body := wav(2 << 20)
	e := env.upload(body)
	<-held
	done := stopAsync(i)
	select {
	case <-done:
		t.Error("it stopped in the middle of a copy")
	default:
	}
	proxy.Restore()
	waitFor(env.Context(), t, done)
	if names := env.EventNames(env.bus, e.JobID); !slices.Equal(names, []event.Name{event.NameReceived, event.NameStored}) {
		t.Errorf("log %v", names)
	}
	if got, _ := env.object(key(e)); !bytes.Equal(got, body) {
		t.Error("the object differs")
	}
}

func TestACopyThatOutlastsTheGraceIsMadeByAnotherReplica(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	proxy := env.Proxy(env.Settings(nil)["S3_ENDPOINT"])
	first := env.run(map[string]string{"S3_ENDPOINT": proxy.URL, "SHUTDOWN_GRACE": "200ms"})
	env.Settled(consumer)
	held := proxy.Hold(1 << 20)
	body := wav(2 << 20)
	e := env.upload(body)
	<-held
	waitFor(env.Context(), t, stopAsync(first))
	if names := env.EventNames(env.bus, e.JobID); !slices.Equal(names, []event.Name{event.NameReceived}) {
		t.Errorf("after the stop: %v", names)
	}
	env.run(nil)
	testkit.Await[event.Stored](env.Kit, env.bus, e.JobID)
	if got, _ := env.object(key(e)); !bytes.Equal(got, body) {
		t.Error("the object differs")
	}
}

package app_test

import (
	"bytes"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/nats-io/nats.go/jetstream"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

const erasures = "uploader-erased"

// erase says what the tracker says.
func (r *rig) erase(e event.Received) {
	r.t.Helper()
	r.append(event.Erased{JobID: e.JobID, Staged: []string{e.Staged().Entry}})
}

// forgotten checks that of a job's log nothing is left but its end.
func (r *rig) forgotten(e event.Received) {
	r.t.Helper()
	for _, m := range r.Letters(event.Jobs()) {
		if strings.Contains(m.Subject, e.JobID) && m.Subject != event.SubjectOf(e.JobID, event.NameErased) {
			r.t.Errorf("left of the log: %s", m.Subject)
		}
	}
	if dead := r.Letters(event.Dead()); len(dead) > 0 {
		r.t.Errorf("dead letters %+v", dead)
	}
}

// put leaves an object in the bucket.
func (r *rig) put(key string, body []byte) {
	r.t.Helper()
	_, err := r.client.PutObject(r.Context(), r.bucket, key, bytes.NewReader(body), int64(len(body)), minio.PutObjectOptions{})
	must(r.t, err)
}

func TestOfAnErasedJobNothingIsLeftInTheBucket(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.run(nil)
	gone, kept := r.upload(wav(10_044)), r.upload(wav(10_044))
	for _, e := range []event.Received{gone, kept} {
		testkit.Await[event.Stored](r.Kit, r.bus, e.JobID)
	}
	r.Settled(consumer)
	r.put("audio/"+gone.JobID+"_another name.wav", wav(100))
	r.erase(gone)
	for range 2 { // the second time nothing is there
		r.Settled(erasures)
		r.forgotten(gone)
		if keys := r.keys(); !slices.Equal(keys, []string{key(kept)}) {
			t.Errorf("in the bucket: %v", keys)
		}
		must(t, r.JetStream().DeleteConsumer(r.Context(), r.Namespace().Stream(event.Jobs().Name), erasures))
	}
	r.Settled(erasures)
	if story := r.Story(r.bus, kept.JobID); len(story) != 2 {
		t.Errorf("the story of another job: %v", story)
	}
}

func TestAnUploadThatIsErasedBeforeAnybodyCopiesItLeavesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	e := r.stage(wav(1 << 20))
	entry, err := event.UploadEntry(e.JobID)
	must(t, err)
	must(t, r.bus.Unstage(r.Context(), e.JobID))
	_, err = r.bus.Stage(r.Context(), entry, bytes.NewReader(wav(1<<20)))
	must(t, err)
	e.Entry = entry
	r.accept(e)
	r.erase(e)
	r.run(nil)
	r.Settled(erasures)
	r.Settled(consumer)
	r.nothingStaged()
	if keys := r.keys(); len(keys) > 0 {
		t.Errorf("in the bucket: %v", keys)
	}
	r.forgotten(e)
}

func TestACopyThatIsUnderWayWhenItsJobIsErasedLeavesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	proxy := r.Proxy(r.Settings(nil)["S3_ENDPOINT"])
	r.run(map[string]string{"S3_ENDPOINT": proxy.URL})
	r.Settled(consumer)
	held := proxy.Hold(1 << 20)
	e := r.upload(wav(3 << 20))
	<-held
	r.erase(e)
	proxy.Mend()
	r.Settled(erasures)
	r.Settled(consumer)
	r.nothingStaged()
	if keys := r.keys(); len(keys) > 0 {
		t.Errorf("in the bucket: %v", keys)
	}
	r.forgotten(e)
}

// A copy has a recording in hand and dies between its object and the look at the
// log.
func TestACopyThatDiesWithAnErasedRecordingLeavesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	e := r.upload(wav(10_044))
	dying, err := r.JetStream().CreateConsumer(r.Context(), r.Namespace().Stream(event.Jobs().Name), jetstream.ConsumerConfig{
		Durable: consumer, FilterSubjects: []string{r.Namespace().Subject(event.Every(event.NameReceived))},
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Minute,
	})
	must(t, err)
	_, err = dying.Next(jetstream.FetchContext(r.Context()))
	must(t, err)
	r.erase(e)
	r.run(nil)
	testkit.Eventually(t, func() error { // the erasure was tried, and is to be tried again
		c, err := r.JetStream().Consumer(r.Context(), r.Namespace().Stream(event.Jobs().Name), erasures)
		if err != nil {
			return err
		}
		if c.CachedInfo().NumRedelivered == 0 {
			return errors.New("not tried yet")
		}
		return nil
	})
	r.put(key(e), wav(10_044)) // its last deed
	r.Settled(erasures)
	if keys := r.keys(); len(keys) > 0 {
		t.Errorf("in the bucket: %v", keys)
	}
	r.forgotten(e)
}

func TestWhileStorageIsAwayErasuresWait(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	proxy := r.Proxy(r.Settings(nil)["S3_ENDPOINT"])
	i := r.run(map[string]string{"S3_ENDPOINT": proxy.URL})
	e := r.upload(wav(10_044))
	testkit.Await[event.Stored](r.Kit, r.bus, e.JobID)
	r.Settled(consumer)
	proxy.Cut()
	r.erase(e)
	readiness(t, i.URL, http.StatusServiceUnavailable)
	if keys := r.keys(); len(keys) != 1 {
		t.Errorf("in the bucket: %v", keys)
	}
	proxy.Mend()
	r.Settled(erasures)
	if keys := r.keys(); len(keys) > 0 {
		t.Errorf("in the bucket: %v", keys)
	}
	r.forgotten(e)
}

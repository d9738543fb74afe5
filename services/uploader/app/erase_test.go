package app_test

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/nats-io/nats.go/jetstream"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// The consumers whose handlers remove data.
const (
	erasures = "uploader-erased"
	expiries = "uploader-expired"
)

// erase appends the event `erased`, as the tracker does.
func (env *env) erase(e event.Received) {
	env.t.Helper()
	env.append(event.Erased{JobID: e.JobID, Staged: []string{e.Staged().Entry}})
}

// checkPurged checks that a job's log contains only the event `erased`, and that the job has no
// dead letters.
func (env *env) checkPurged(e event.Received) {
	env.t.Helper()
	for _, m := range env.Messages(event.Jobs()) {
		if strings.Contains(m.Subject, e.JobID) && m.Subject != event.SubjectOf(e.JobID, event.NameErased) {
			env.t.Errorf("left of the log: %s", m.Subject)
		}
	}
	if dead := env.Messages(event.Dead()); len(dead) > 0 {
		env.t.Errorf("dead letters %+v", dead)
	}
}

// put stores an object.
func (env *env) put(key string, body []byte) {
	env.t.Helper()
	_, err := env.client.PutObject(env.Context(), env.bucket, key, bytes.NewReader(body), int64(len(body)), minio.PutObjectOptions{})
	must(env.t, err)
}

func TestOfAnErasedJobNothingIsLeftInTheBucket(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	erased, kept := env.upload(wav(10_044)), env.upload(wav(10_044))
	for _, e := range []event.Received{erased, kept} {
		testkit.Await[event.Stored](env.Kit, env.bus, e.JobID)
	}
	env.Settled(consumer)
	env.put("audio/"+erased.JobID+"_another name.wav", wav(100))
	env.erase(erased)
	for range 2 { // the second time the event is redelivered after everything was removed
		env.Settled(erasures)
		env.checkPurged(erased)
		env.checkKeys(key(kept))
		must(t, env.JetStream().DeleteConsumer(env.Context(), env.Namespace().Stream(event.Jobs().Name), erasures))
	}
	env.Settled(erasures)
	if names := env.EventNames(env.bus, kept.JobID); len(names) != 2 {
		t.Errorf("the log of another job: %v", names)
	}
}

func TestAnUploadThatIsErasedBeforeItIsCopiedLeavesNothing(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	e := env.stage(wav(1 << 20))
	entry, err := event.UploadEntry(e.JobID)
	must(t, err)
	must(t, env.staging.Delete(env.Context(), e.JobID))
	_, err = env.staging.Put(env.Context(), entry, bytes.NewReader(wav(1<<20)))
	must(t, err)
	e.Entry = entry
	env.accept(e)
	env.erase(e)
	env.run(nil)
	env.Settled(erasures)
	env.Settled(consumer)
	env.nothingStaged()
	env.checkKeys()
	env.checkPurged(e)
}

func TestAnUploadThatIsErasedWhileItIsCopiedLeavesNothing(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	e, release := env.uploadHeld()
	env.erase(e)
	release()
	env.Settled(erasures)
	env.Settled(consumer)
	env.nothingStaged()
	env.checkKeys()
	env.checkPurged(e)
}

// A replica dies after it has put the object of an erased job, before it removes the object again.
// No object may be left.
func TestAReplicaThatDiesWhileItCopiesAnErasedUploadLeavesNothing(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	e := env.upload(wav(10_044))
	dying, err := env.JetStream().CreateConsumer(env.Context(), env.Namespace().Stream(event.Jobs().Name), jetstream.ConsumerConfig{
		Durable: consumer, FilterSubjects: []string{env.Namespace().Subject(event.Filter(event.NameReceived))},
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Minute,
	})
	must(t, err)
	_, err = dying.Next(jetstream.FetchContext(env.Context()))
	must(t, err)
	env.erase(e)
	env.run(nil)
	testkit.Eventually(t, func() error { // wait until the event erased is redelivered, since the event received is not settled
		c, err := env.JetStream().Consumer(env.Context(), env.Namespace().Stream(event.Jobs().Name), erasures)
		if err != nil {
			return err
		}
		if c.CachedInfo().NumRedelivered == 0 {
			return errors.New("not tried yet")
		}
		return nil
	})
	env.put(key(e), wav(10_044)) // as if the dying replica put the object now
	env.Settled(erasures)
	env.checkKeys()
	env.checkPurged(e)
}

func TestWhileS3IsUnavailableErasuresWait(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	proxy := env.Proxy(env.Settings(nil)["S3_ENDPOINT"])
	i := env.run(map[string]string{"S3_ENDPOINT": proxy.URL})
	e := env.upload(wav(10_044))
	testkit.Await[event.Stored](env.Kit, env.bus, e.JobID)
	env.Settled(consumer)
	proxy.Cut()
	env.erase(e)
	readiness(t, i.URL, http.StatusServiceUnavailable)
	env.checkKeys(key(e))
	proxy.Restore()
	env.Settled(erasures)
	env.checkKeys()
	env.checkPurged(e)
}

func TestARecordingWhoseRetentionIsOverIsRemovedAndItsLogStays(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	expired, kept := env.upload(wav(10_044)), env.upload(wav(10_044))
	for _, e := range []event.Received{expired, kept} {
		testkit.Await[event.Stored](env.Kit, env.bus, e.JobID)
	}
	env.Settled(consumer)
	env.append(event.Completed{JobID: expired.JobID, Attempt: 1})
	env.append(event.Expired{JobID: expired.JobID})
	for range 2 { // the second time the event is redelivered after everything was removed
		env.Settled(expiries)
		env.checkKeys(key(kept))
		must(t, env.JetStream().DeleteConsumer(env.Context(), env.Namespace().Stream(event.Jobs().Name), expiries))
	}
	env.Settled(expiries)
	if names := env.EventNames(env.bus, expired.JobID); len(names) != 4 {
		t.Errorf("the log: %v", names)
	}
}

// A slow replica puts the object after another replica has removed it, and then dies. At the next
// delivery of the event `received` the uploader must find the event `expired` in the log and remove
// the object.
func TestARecordingThatIsPutAfterItsRetentionIsRemovedAgain(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	e := env.upload(wav(10_044))
	testkit.Await[event.Stored](env.Kit, env.bus, e.JobID)
	env.Settled(consumer)
	env.append(event.Completed{JobID: e.JobID, Attempt: 1})
	env.append(event.Expired{JobID: e.JobID})
	env.Settled(expiries)
	env.checkKeys()
	env.put(key(e), wav(10_044))
	must(t, env.JetStream().DeleteConsumer(env.Context(), env.Namespace().Stream(event.Jobs().Name), consumer)) // redelivers every event
	env.Settled(consumer)
	env.checkKeys()
	env.nothingStaged()
}

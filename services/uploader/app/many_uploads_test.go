package app_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"sori.internal/services/uploader/internal/direct"
	"sori.internal/services/uploader/internal/uploads"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/source"
	"sori.internal/shared/testkit"
	"sori.internal/shared/uploadrequest"
)

// manyUploads is more than the number of records that NATS returns in one answer.
const manyUploads = 1030

// addRecords stores the records of uploads of other owners, whose bytes have not arrived.
func (env *env) addRecords(n int, of direct.Upload) {
	env.t.Helper()
	store := uploads.New(env.bus)
	for range n {
		of.JobID = env.NewJob()
		of.Key, of.Owner, of.Created = "audio/"+of.JobID+"_a.wav", "jun", time.Now()
		must(env.t, store.Put(env.Context(), of))
	}
}

func TestAFormBecomesAJobHoweverManyFormsAreNotUsed(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(nil, "mina")[0]
	env.addRecords(manyUploads, direct.Upload{TokenID: 7})
	f := mina.form()
	mina.sendForm(f, wav(1000))
	testkit.Await[event.Stored](env.Kit, env.bus, f.JobID)
}

func TestExpiredUploadsAreSweptHoweverManyThereAre(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.callers(nil)
	env.addRecords(manyUploads, direct.Upload{TokenID: 7, Spent: true})
	sweep(env, time.Now().Add(25*time.Hour))
	env.checkNothingLeft()
}

// The record of a used form is kept until the form expires. All owners share the space for records.
func TestUsedFormsOfAnOwnerAreLimited(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	all := env.callers(nil, "mina", "jun")
	const limit = 10_000
	for range limit / 1000 {
		acks := make([]*bus.PubAck, 1000)
		for i := range acks {
			u := direct.Upload{JobID: env.NewJob(), Owner: "mina", Created: time.Now(), Spent: true}
			record, err := json.Marshal(u)
			must(t, err)
			acks[i], err = env.bus.PublishBytes(event.UploadSubject(event.WaySpent, u.Owner, u.JobID), record)
			must(t, err)
		}
		for _, ack := range acks {
			must(t, ack.Wait(env.Context()))
		}
	}
	header := described(t, uploadrequest.Description{TokenID: 7})
	for path, method := range map[string]string{"/s3/params": http.MethodGet, "/s3/multipart": http.MethodPost} {
		if status, code := all[0].call(method, path, nil, nil, header); status != http.StatusTooManyRequests || code != "too-many-uploads" {
			t.Errorf("%s is answered with %d %s", path, status, code)
		}
	}
	all[1].form() // another's
}

// A fetch that has begun before an erasure keeps the erasure of a job with a source from being complete.
func TestErasuresThatWaitForASlowFetchDoNotDelayThoseOfOthers(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	begun, released := make(chan struct{}), make(chan struct{})
	begin := sync.OnceFunc(func() { close(begun) })
	slow := env.serve(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(wav(10_000))
		begin()
		next := time.NewTicker(time.Second) // a silent server is disconnected
		defer next.Stop()
		for {
			w.(http.Flusher).Flush() //nolint:forcetypeassert // the writers of net/http implement http.Flusher
			select {
			case <-next.C:
				_, _ = w.Write([]byte{0})
			case <-released:
				return
			case <-r.Context().Done():
				return
			}
		}
	})
	env.analyzeURL(slow)
	env.runFetching(map[string]string{"FETCH_MIN_RATE": "0"})
	env.wait(begun)
	for range 1000 {
		env.erase(env.analyzeAs("mina", source.Source{URL: slow}))
	}
	other := env.upload(wav(1000))
	testkit.Await[event.Stored](env.Kit, env.bus, other.JobID)
	env.erase(other)
	testkit.Eventually(t, func() error {
		if slices.Contains(env.keys(), key(other)) {
			return errors.New("the recording of an erased job is left")
		}
		return nil
	})
	close(released)
}

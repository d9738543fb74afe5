package app_test

import (
	"testing"
	"time"

	"sori.internal/services/uploader/internal/direct"
	"sori.internal/services/uploader/internal/uploads"
	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// manyUploads is more than the number of records that NATS returns in one answer.
const manyUploads = 1030

// records stores the records of uploads of other owners, whose bytes have not arrived.
func (env *env) records(n int, of direct.Upload) {
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
	env.records(manyUploads, direct.Upload{TokenID: 7})
	f := mina.form()
	mina.sendForm(f, wav(1000))
	testkit.Await[event.Stored](env.Kit, env.bus, f.JobID)
}

func TestExpiredUploadsAreSweptHoweverManyThereAre(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.callers(nil)
	env.records(manyUploads, direct.Upload{TokenID: 7, Spent: true})
	sweep(env, time.Now().Add(25*time.Hour))
	env.checkNothingLeft()
}

package joblog_test

import (
	"testing"

	"github.com/nats-io/nats.go"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/joblog"
	"sori.internal/shared/testkit"
)

func TestALogWhoseStreamDoesNotAnswerIsUnavailable(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	if log, err := joblog.New(k.Bus("tester")).Read(k.Context(), k.NewJob()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v %v", log, err)
	}
}

func TestTheEndsOfALog(t *testing.T) {
	t.Parallel()
	k, _, logs := open(t)
	ctx, job := k.Context(), k.NewJob()
	if received, _, err := logs.Received(ctx, job); err != nil || received != nil {
		t.Errorf("no log begins with %+v, %v", received, err)
	}
	if newest, err := logs.Newest(ctx, job); err != nil || newest != nil {
		t.Errorf("no log ends with %+v, %v", newest, err)
	}
	seq := uint64(0)
	for _, e := range []event.Event{event.Received{JobID: job, Owner: "a"}, event.Stored{JobID: job}, event.Canceled{JobID: job}} {
		var err error
		seq, err = logs.Append(ctx, e, seq)
		must(t, err)
		newest, err := logs.Newest(ctx, job)
		if err != nil || newest == nil || newest.Seq != seq || newest.Event.Name() != e.Name() || newest.Time.IsZero() {
			t.Errorf("after %s the log ends with %+v, %v", e.Name(), newest, err)
		}
	}
	if received, at, err := logs.Received(ctx, job); err != nil || received == nil || received.Owner != "a" || at.IsZero() {
		t.Errorf("the log begins with %+v at %v, %v", received, at, err)
	}
}

func TestAnUnreadableEventIsPartOfItsLogAndCanBeFollowed(t *testing.T) {
	t.Parallel()
	k, _, logs := open(t)
	job := k.NewJob()
	for _, subject := range []string{event.SubjectOf(job, event.NameReceived), event.SubjectOf(job, "invented")} {
		_, err := k.JetStream().PublishMsg(k.Context(), &nats.Msg{Subject: k.Namespace().Subject(subject), Data: []byte("\xff")})
		must(t, err)
		log, err := logs.Read(k.Context(), job)
		if err != nil || len(log) == 0 || log[len(log)-1].Event != (event.Unreadable{JobID: job, Of: log[len(log)-1].Event.Name()}) {
			t.Fatalf("%+v %v", log, err)
		}
		if _, ended := log.Terminal(); ended {
			t.Error("it ends the job")
		}
	}
	log, err := logs.Update(k.Context(), job, nil, func(event.Log) (event.Event, error) {
		return event.Failed{JobID: job, Code: "unreadable-event"}, nil
	})
	must(t, err)
	if _, ended := log.Terminal(); !ended || len(log) != 3 {
		t.Errorf("%+v", log)
	}
}

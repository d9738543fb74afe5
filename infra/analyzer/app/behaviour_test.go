package app_test

import (
	"fmt"
	"net/http"
	"reflect"
	"sync"
	"testing"
	"time"

	"sori.internal/infra/analyzer/app"
)

func statuses(all []map[string]any) (list []string) {
	for _, c := range all {
		list = append(list, fmt.Sprint(c["status"]))
	}
	return list
}

func TestInstantFetchesNothing(t *testing.T) {
	t.Parallel()
	s, sink := start(t, behave(app.Behaviour{Instant: true})), newSink(t)
	post(t, s.URL(), sink.form())
	all := sink.awaitOutcomes(1)
	if len(all) != 1 || all[0]["status"] != "completed" || sink.fetches != 0 {
		t.Errorf("%v, %d fetches", all, sink.fetches)
	}
}

func TestDelayReportsProgressUntilItIsOver(t *testing.T) {
	t.Parallel()
	const delay = 60 * time.Millisecond
	s, sink := start(t, behave(app.Behaviour{Delay: app.Duration(delay)})), newSink(t)
	began := time.Now()
	post(t, s.URL(), sink.form())
	all := sink.awaitOutcomes(1)
	if took := time.Since(began); took < delay {
		t.Errorf("took %v", took)
	}
	if len(all) < 6 || all[len(all)-1]["status"] != "completed" {
		t.Errorf("callbacks %v", statuses(all))
	}
}

func TestFailReportsFailure(t *testing.T) {
	t.Parallel()
	s, sink := start(t, behave(app.Behaviour{Fail: true, FailReason: "no voice"})), newSink(t)
	post(t, s.URL(), sink.form())
	if end := sink.awaitOutcomes(1)[0]; end["status"] != "failed" || end["error"] != "no voice" {
		t.Errorf("outcome %v", end)
	}
	if _, _, got := send(t, http.MethodGet, s.URL()+"/status/j", "", ""); got["status"] != "failed" || got["error"] != "no voice" {
		t.Errorf("status %v", got)
	}
}

func TestRejectAnswersWithTheStatus(t *testing.T) {
	t.Parallel()
	s, sink := start(t, nil), newSink(t)
	for _, b := range []app.Behaviour{
		{Instant: true, RejectStatus: 503, RejectRetryAfter: app.Duration(7 * time.Second), RejectFirst: 1}, {Instant: true, RejectStatus: 400, RejectFirst: 1},
	} {
		if err := s.Behave(b); err != nil {
			t.Fatal(err)
		}
		status, header, reply := post(t, s.URL(), sink.form())
		want := ""
		if b.RejectRetryAfter > 0 {
			want = "7"
		}
		if status != b.RejectStatus || header.Get("Retry-After") != want || reply["detail"] == "" {
			t.Errorf("%+v: %d %v %v", b, status, header, reply)
		}
		if status, _, _ := post(t, s.URL(), sink.form()); status != http.StatusAccepted {
			t.Errorf("second POST: %d", status)
		}
	}
	sink.awaitOutcomes(2)
}

func TestLostCallbacksLeaveTheStatus(t *testing.T) {
	t.Parallel()
	s, sink := start(t, behave(app.Behaviour{LoseCallbacks: true, CallbackFirst: true})), newSink(t)
	_, _, reply := post(t, s.URL(), sink.form()) // CallbackFirst: the server responds after it has dropped the callback
	if n := len(sink.got); n != 0 {
		t.Errorf("%d callbacks", n)
	}
	if _, _, got := send(t, http.MethodGet, s.URL()+"/status/"+reply["job_id"].(string), "", ""); got["status"] != "completed" {
		t.Errorf("status %v", got)
	}
}

func TestRepeatSendsEachCallbackMoreThanOnce(t *testing.T) {
	t.Parallel()
	s, sink := start(t, behave(app.Behaviour{Instant: true, RepeatCallbacks: 2, CallbackFirst: true})), newSink(t)
	post(t, s.URL(), sink.form())
	if all := sink.awaitOutcomes(3); len(all) != 3 || len(sink.got) != 0 {
		t.Errorf("callbacks %v and %d more", statuses(all), len(sink.got))
	}
}

func TestReorderIsRandomAndRepeatable(t *testing.T) {
	t.Parallel()
	order := func(seed uint64) []any {
		s, sink := start(t, behave(app.Behaviour{ReorderCallbacks: true, Seed: seed, CallbackFirst: true})), newSink(t)
		post(t, s.URL(), sink.form())
		var list []any
		for range len(sink.got) {
			c := <-sink.got
			if c["status"] == "completed" {
				list = append(list, "completed")
			} else {
				list = append(list, c["progress"])
			}
		}
		if len(list) < 4 || list[len(list)-1] == "completed" {
			t.Errorf("order %v", list)
		}
		return list
	}
	if one, two := order(1), order(1); !reflect.DeepEqual(one, two) {
		t.Errorf("the same seed gives %v and %v", one, two)
	}
}

func TestCallbackMayComeBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	s, sink := start(t, behave(app.Behaviour{Instant: true, CallbackFirst: true, AcceptDelay: app.Duration(time.Millisecond)})), newSink(t)
	status, _, _ := post(t, s.URL(), sink.form())
	if n := len(sink.got); status != http.StatusAccepted || n != 1 {
		t.Errorf("%d with %d callbacks before it", status, n)
	}
}

func TestNoProgressSendsTheOutcomeAlone(t *testing.T) {
	t.Parallel()
	s, sink := start(t, behave(app.Behaviour{NoProgress: true})), newSink(t)
	post(t, s.URL(), sink.form())
	if all := sink.awaitOutcomes(1); len(all) != 1 {
		t.Errorf("callbacks %v", statuses(all))
	}
}

func TestBehaviourCanBeSetOverHTTPWhereEnabled(t *testing.T) {
	t.Parallel()
	s, sink := start(t, func(c *app.Config) { c.BehaviourAPI = true }), newSink(t)
	put := func(body string) int {
		status, _, _ := send(t, http.MethodPut, s.URL()+"/behaviour", "application/json", body)
		return status
	}
	if status := put(`{"fail":true,"delay":"1ms"}`); status != http.StatusOK || !s.Behaviour().Fail {
		t.Errorf("%d, %+v", status, s.Behaviour())
	}
	for body, want := range map[string]int{`{"fial":true}`: 400, `{`: 400, `{"reject_status":1}`: 422} {
		if status := put(body); status != want || !s.Behaviour().Fail {
			t.Errorf("%s: %d", body, status)
		}
	}
	if _, _, got := send(t, http.MethodGet, s.URL()+"/behaviour", "", ""); got["fail"] != true {
		t.Errorf("behaviour %v", got)
	}
	post(t, s.URL(), sink.form())
	if all := sink.awaitOutcomes(1); all[len(all)-1]["status"] != "failed" {
		t.Errorf("callbacks %v", statuses(all))
	}
}

func TestInstantLoadLosesNothing(t *testing.T) {
	t.Parallel()
	const jobs, clients = 1000, 16
	s, sink := start(t, behave(app.Behaviour{Instant: true})), newSink(t)
	began := time.Now()
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			for range jobs / clients {
				post(t, s.URL(), sink.form())
			}
		})
	}
	sent := jobs / clients * clients
	sink.awaitOutcomes(sent)
	group.Wait()
	t.Logf("%.0f jobs/s", float64(sent)/time.Since(began).Seconds())
}

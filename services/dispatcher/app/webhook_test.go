package app_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

func TestEveryFormOfAnOutcomeEndsTheJob(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	deep := strings.Repeat(`{"a":[`, 2000) + strings.Repeat(`]}`, 2000)
	for body, want := range map[string]event.Event{
		`{"analysis_results":{"score":1.50,"n":12345678901234567890}}`:                                     event.Completed{Result: []byte(`{"score":1.50,"n":12345678901234567890}`)},
		`{"status":"completed","analysis_results":{"a":"<소리>"},"video_id":7,"more":[1]}`:                   event.Completed{Result: []byte("{\"a\":\"\\u003c소리\\u003e\"}")},
		`{"status":null,"analysis_results":[1]}`:                                                           event.Completed{Result: []byte(`[1]`)},
		`{"analysis_results":{"a":"\u0000","b":"\ud800"}}`:                                                 event.Completed{Result: []byte(`{"a":"\u0000","b":"\ud800"}`)},
		`{"analysis_results":` + deep + `}`:                                                                event.Completed{Result: []byte(deep)},
		"\n {\"analysis_results\":{},\"message\":{\"text\":1},\"progress\":\"all\",\"error\":null}\n":      event.Completed{Result: []byte(`{}`)},
		`{"status":"failed","error":"no speech"}`:                                                          event.Failed{Detail: "no speech"},
		`{"status":"failed","error":{"code":3}}`:                                                           event.Failed{Detail: `{"code":3}`},
		`{"status":"failed"}`:                                                                              event.Failed{Detail: "The analysis failed without a reason."},
		`{"status":"failed","error":"a\u0000b\u001b[2J"}`:                                                  event.Failed{Detail: "ab[2J"},
		`{"status":"failed","error":"403 for url: http://s3/b/k?X-Amz-Signature=abc&x=1 (gone)"}`:          event.Failed{Detail: "403 for url: http://s3/b/k?… (gone)"},
		`{"status":"failed","error":{"url":"http://s3/b/k?X-Amz-Date=1\u0026X-Amz-Signature=abc","at":1}}`: event.Failed{Detail: `{"url":"http://s3/b/k?…","at":1}`},
		`{"status":"failed","error":"` + strings.Repeat("x", 9000) + `","analysis_results":{}}`:            event.Failed{Detail: strings.Repeat("x", 1999) + "…"},
	} {
		job, hook := env.dispatched()
		got := env.call(hook, body)
		if got.code != http.StatusOK || got.body["received"] != true || got.body["job_id"] != job || got.body["message"] != nil {
			t.Errorf("%.80s: %+v", body, got)
		}
		switch want := want.(type) {
		case event.Completed:
			if c := testkit.Await[event.Completed](env.Kit, env.bus, job); c.Attempt != 1 || string(c.Result) != string(want.Result) || c.ResultEntry != "" {
				t.Errorf("%.80s: %.200s", body, c.Result)
			}
		case event.Failed:
			if f := testkit.Await[event.Failed](env.Kit, env.bus, job); f.Code != "analysis-failed" || f.Attempt != 1 || !f.Retryable || f.Detail != want.Detail {
				t.Errorf("%.80s: %+v", body, f)
			}
		}
	}
	shownNoSecret(t, env)
}

func TestProgressIsPublishedAndEndsNothing(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	job, hook := env.dispatched()
	if got := env.call(hook, `{"status":"processing","progress":41.7,"message":"목소리 찾는 중 \u0007"}`); got.code != http.StatusOK || got.body["job_id"] != job {
		t.Errorf("%+v", got)
	}
	var progressed event.Progressed
	for _, m := range env.Messages(event.Jobs()) {
		if m.Subject == event.Subject(event.Progressed{JobID: job}) {
			must(t, json.Unmarshal(m.Data, &progressed))
		}
	}
	if progressed != (event.Progressed{JobID: job, Attempt: 1, Percent: 41, Message: "목소리 찾는 중"}) {
		t.Errorf("%+v", progressed)
	}
	if names := env.EventNames(env.bus, job); names[len(names)-1] != event.NameDispatched {
		t.Errorf("log %v", names)
	}
}

func TestAnInvalidCallbackIsAnsweredWithThePointer(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	job, hook := env.dispatched()
	for body, pointer := range map[string]string{
		`{}`:                                       "/analysis_results",
		`{"analysis_results":null}`:                "/analysis_results",
		`{"status":"exploded"}`:                    "/status",
		`{"status":200}`:                           "/status",
		`{"status":"processing","progress":101}`:   "/progress",
		`{"status":"processing","progress":-0.5}`:  "/progress",
		`{"status":"processing","progress":1e999}`: "/progress",
		`{"status":"running","progress":"much"}`:   "/progress",
	} {
		got := env.call(hook, body)
		violations, _ := got.body["errors"].([]any)
		if got.code != http.StatusUnprocessableEntity || got.body["code"] != "validation-failed" || len(violations) != 1 ||
			violations[0].(map[string]any)["pointer"] != pointer {
			t.Errorf("%s: %+v", body, got)
		}
	}
	if names := env.EventNames(env.bus, job); names[len(names)-1] != event.NameDispatched {
		t.Errorf("log %v", names)
	}
}

func TestABodyThatIsNoJSONObjectIsMalformed(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	_, hook := env.dispatched()
	for _, body := range []string{
		"", " ", "x", "[]", `"a"`, "null", "7", `{"analysis_results":{}`, `{"analysis_results":{}}{}`, `{"analysis_results":{"a":"` + "\xff" + `"}}`,
		`{analysis_results:{}}`, strings.Repeat("[", 100_000), `{"a":` + strings.Repeat("[", 100_000),
	} {
		if got := env.call(hook, body); got.code != http.StatusBadRequest || got.body["code"] != "malformed-json" || got.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%.40q: %+v", body, got)
		}
	}
}

func TestABodyThatIsCutOffIsMalformed(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	job, hook := env.dispatched()
	u, err := url.Parse(env.local(hook))
	must(t, err)
	conn, err := net.Dial("tcp", u.Host)
	must(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{\"analysis_results\":{}}", u.RequestURI())
	must(t, err)
	must(t, conn.(*net.TCPConn).CloseWrite())
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("status %d", resp.StatusCode)
	}
	if names := env.EventNames(env.bus, job); names[len(names)-1] != event.NameDispatched {
		t.Errorf("log %v", names)
	}
}

func TestARefusedCallbackIsAnsweredWithoutItsBody(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	_, hook := env.dispatched()
	u, err := url.Parse(env.local(hook))
	must(t, err)
	query := u.Query()
	query.Set("sig", "forged")
	u.RawQuery = query.Encode()
	for _, framing := range []string{"Content-Length: 1000", "Transfer-Encoding: chunked"} {
		conn, err := net.Dial("tcp", u.Host)
		must(t, err)
		defer conn.Close()
		must(t, conn.SetDeadline(time.Now().Add(20*time.Second))) // the test sends no body: an answer must still come
		_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n", u.RequestURI(), framing)
		must(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		must(t, err)
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized || !resp.Close {
			t.Errorf("%s: status %d, closing %t", framing, resp.StatusCode, resp.Close)
		}
	}
}

func TestACallbackCountsIfTheServerDisconnectsAfterItsLastByte(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	for range 20 {
		job, hook := env.dispatched()
		u, err := url.Parse(env.local(hook))
		must(t, err)
		conn, err := net.Dial("tcp", u.Host)
		must(t, err)
		const body = `{"analysis_results":{}}`
		_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", u.RequestURI(), len(body), body)
		must(t, err)
		must(t, conn.Close())
		testkit.Await[event.Completed](env.Kit, env.bus, job)
	}
}

func TestABodyPastTheLimitIsTooLarge(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(map[string]string{"MAX_WEBHOOK_BYTES": "1000"})
	job, hook := env.dispatched()
	body := `{"analysis_results":{"a":"` + strings.Repeat("x", 1000) + `"}}`
	if got := env.call(hook, body); got.code != http.StatusRequestEntityTooLarge || got.body["max_bytes"] != 1000.0 {
		t.Errorf("%+v", got)
	}
	if got := env.call(hook, `{"analysis_results":{}}`+strings.Repeat(" ", 977)); got.code != http.StatusOK {
		t.Errorf("at the limit: %+v", got)
	}
	testkit.Await[event.Completed](env.Kit, env.bus, job)
}

func TestARepeatedCallbackIsAnsweredSoAndChangesNothing(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	job, hook := env.dispatched()
	for i := range 5 {
		headers, want := []string{}, any("이미 완료된 작업")
		switch i {
		case 0:
			want = nil
		case 3:
			headers, want = []string{"Accept-Language", "en-GB, ko;q=0.5"}, "The job is already complete"
		}
		got := env.call(hook, map[string]any{"analysis_results": map[string]int{"n": i}}, headers...)
		if got.code != http.StatusOK || got.body["message"] != want || got.body["job_id"] != job || got.body["received"] != true {
			t.Errorf("callback %d: %+v", i, got)
		}
	}
	if got := env.call(hook, `{"status":"failed","error":"late"}`); got.code != http.StatusOK || got.body["message"] == nil {
		t.Errorf("another outcome: %+v", got)
	}
	if n := env.count(event.SubjectOf(job, event.NameCompleted)); n != 1 {
		t.Errorf("completed %d times", n)
	}
	if c := testkit.Await[event.Completed](env.Kit, env.bus, job); string(c.Result) != `{"n":0}` {
		t.Errorf("result %s", c.Result)
	}
	if names := env.EventNames(env.bus, job); names[len(names)-1] != event.NameCompleted {
		t.Errorf("log %v", names)
	}
}

func TestACallbackOfAnOldAttemptChangesNothing(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	job, hook := env.dispatched()
	env.append(event.Attempted{JobID: job, Attempt: 2})
	for _, body := range []string{`{"analysis_results":{}}`, `{"status":"failed"}`, `{"status":"processing","progress":5}`} {
		if got := env.call(hook, body); got.code != http.StatusOK || got.body["received"] != true {
			t.Errorf("%s: %+v", body, got)
		}
	}
	if names := env.EventNames(env.bus, job); names[len(names)-1] != event.NameAttempted {
		t.Errorf("log %v", names)
	}
	if n := env.count(event.Subject(event.Progressed{JobID: job})); n != 0 {
		t.Errorf("progress was published %d times", n)
	}
}

func TestTheLateOutcomeOfAnOldAttemptIsKeptOnce(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	job, hook := env.dispatched()
	env.append(event.Attempted{JobID: job, Attempt: 2})
	for range 3 {
		for _, body := range []string{`{"analysis_results":{"score":2}}`, `{"status":"failed","error":"no speech"}`} {
			if got := env.call(hook, body); got.code != http.StatusOK {
				t.Errorf("%s: %+v", body, got)
			}
		}
	}
	var kept []event.Discarded
	for _, m := range env.Messages(event.Jobs()) {
		if m.Subject == event.Subject(event.Discarded{JobID: job}) {
			e, err := event.Decode(m.Subject, m.Data)
			must(t, err)
			kept = append(kept, e.(event.Discarded))
		}
	}
	want := []event.Discarded{
		{JobID: job, Attempt: 1, Status: "completed", Result: json.RawMessage(`{"score":2}`)},
		{JobID: job, Attempt: 1, Status: "failed", Detail: "no speech"},
	}
	if !reflect.DeepEqual(kept, want) {
		t.Errorf("kept %+v", kept)
	}
}

func TestACallbackWithoutItsSignedURLIsRefused(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	job, hook := env.dispatched()
	_, other := env.dispatched()
	elsewhere, err := url.Parse(other)
	must(t, err)
	here, err := url.Parse(hook)
	must(t, err)
	sig := here.Query().Get("sig")
	flipped := "A" + sig[1:]
	if sig[0] == 'A' {
		flipped = "B" + sig[1:]
	}
	for name, c := range map[string]struct {
		url  string
		code int
	}{
		"no signature":       {changed(t, hook, "sig", ""), http.StatusUnauthorized},
		"altered":            {changed(t, hook, "sig", flipped), http.StatusUnauthorized},
		"shorter":            {changed(t, hook, "sig", sig[:len(sig)-1]), http.StatusUnauthorized},
		"another's":          {changed(t, hook, "sig", elsewhere.Query().Get("sig")), http.StatusUnauthorized},
		"no attempt":         {changed(t, hook, "attempt", ""), http.StatusUnauthorized},
		"another attempt":    {changed(t, hook, "attempt", "2"), http.StatusUnauthorized},
		"attempt 0":          {changed(t, hook, "attempt", "0"), http.StatusUnauthorized},
		"a word for attempt": {changed(t, hook, "attempt", "one"), http.StatusUnauthorized},
		"an unsigned job":    {changed(t, hook, "job_id", env.NewJob()), http.StatusUnauthorized},
		"no job":             {changed(t, hook, "job_id", ""), http.StatusBadRequest},
		"no uuid":            {changed(t, hook, "job_id", "7"), http.StatusNotFound},
		"wildcards":          {changed(t, hook, "job_id", "*.>"), http.StatusNotFound},
		"a uuid in braces":   {changed(t, hook, "job_id", "{"+job+"}"), http.StatusNotFound},
	} {
		if got := env.call(c.url, `{"analysis_results":{}}`); got.code != c.code || got.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if names := env.EventNames(env.bus, job); names[len(names)-1] != event.NameDispatched {
		t.Errorf("log %v", names)
	}
	if got := env.call(changed(t, hook, "job_id", strings.ToUpper(job)), `{"analysis_results":{}}`); got.code != http.StatusOK {
		t.Errorf("in capitals: %+v", got)
	}
}

func TestTheURLWorksWithATrailingSlashAndOnlyForPOST(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	job, hook := env.dispatched()
	resp, err := env.http.Get(env.local(hook))
	must(t, err)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound && resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", resp.StatusCode)
	}
	if got := env.call(strings.Replace(hook, "?", "/?", 1), `{"analysis_results":{}}`); got.code != http.StatusOK {
		t.Errorf("%+v", got)
	}
	testkit.Await[event.Completed](env.Kit, env.bus, job)
}

func TestConcurrentCallbacksAndACancellationAppendOneTerminalEvent(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	for range 10 {
		job, hook := env.dispatched()
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				body := fmt.Sprintf(`{"analysis_results":{"n":%d}}`, i)
				if i%2 == 1 {
					body = `{"status":"failed","error":"x"}`
				}
				if got, err := env.post(hook, body); err != nil || got.code != http.StatusOK {
					t.Errorf("%+v %v", got, err)
				}
			})
		}
		wg.Go(func() { env.AppendUnlessEnded(env.bus, event.Canceled{JobID: job}) })
		wg.Wait()
		if names := env.EventNames(env.bus, job); len(names) != 5 || !names[4].Terminal() {
			t.Errorf("log %v", names)
		}
	}
}

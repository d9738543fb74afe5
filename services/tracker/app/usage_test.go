package app_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"sori.internal/shared/event"
	"sori.internal/shared/principal"
	"sori.internal/shared/testkit"
)

// usage is the answer to a request for the usage of an owner.
type usage struct {
	Jobs     int64    `json:"jobs"`
	Staged   int64    `json:"staged_bytes"`
	Stored   int64    `json:"stored_bytes"`
	Log      int64    `json:"log_bytes"`
	Recorded []string `json:"recorded"`
}

// askUsage requests the usage with the given headers. It uses its own client, because the OpenAPI
// document does not contain this route.
func (c *env) askUsage(query string, as map[string]string) (status int, text string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.Context(), http.MethodGet, c.url+"/internal/usage"+query, http.NoBody)
	if err != nil {
		c.t.Fatal(err)
	}
	for k, v := range as {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func (c *env) usageOf(owner string) (u usage) {
	c.t.Helper()
	status, text := c.askUsage("", c.as(user(owner)))
	if err := json.Unmarshal([]byte(text), &u); err != nil || status != http.StatusOK {
		c.t.Fatalf("%d %s: %v", status, text, err)
	}
	return u
}

// logBytes returns the size of the stream of logs.
func (c *env) logBytes() int64 {
	c.t.Helper()
	stream, err := c.JetStream().Stream(c.Context(), c.Namespace().Stream(event.Jobs().Name))
	if err != nil {
		c.t.Fatal(err)
	}
	return int64(stream.CachedInfo().State.Bytes)
}

// untilUsed waits until alice has the given usage, and until her log bytes are those of the whole
// stream, which has only logs of her jobs.
func (c *env) untilUsed(jobs, staged, stored int64) {
	c.t.Helper()
	testkit.Eventually(c.t, func() error {
		u, log := c.usageOf("alice"), c.logBytes()
		if u.Jobs != jobs || u.Staged != staged || u.Stored != stored || u.Log != log || log == 0 {
			return fmt.Errorf("used are %+v, and the stream has %d bytes", u, log)
		}
		return nil
	})
}

func TestTheUsageIsWhatStagingTheBucketAndTheStreamHaveOfAnOwner(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	c.replica(nil)
	first, second := c.job(), c.job()
	first.receivedOf("alice")
	second.receivedOf("alice")
	c.untilUsed(2, 2000, 0)
	first.uploading(500)
	first.storedInBucket()
	first.attempted(1)
	first.waiting(1, first.awaitStatus("processing", 70).body.CreatedAt)
	first.dispatched(1)
	for percent := range 20 {
		first.progressed(percent, strings.Repeat("단계 ", percent))
	}
	first.publish(event.Discarded{JobID: first.id, Attempt: 1, Status: "completed", Result: json.RawMessage(`{"late":true}`)})
	first.completed(`{"score":1}`)
	first.awaitStatus("completed", 100)
	// NATS removes this event after minutes. Until then, the stream has more bytes than are counted.
	if err := c.bus.Stream(event.Jobs()).Purge(c.Context(), event.Subject(event.Waiting{JobID: first.id}), 0); err != nil {
		t.Fatal(err)
	}
	c.untilUsed(2, 1000, 1000)
	c.HandleAgain(consumer)
	c.Recreate(consumer) // both redeliver every event to the consumer
	c.settled(1)
	c.untilUsed(2, 1000, 1000)
	second.asks("cancel", http.StatusAccepted, "")
	c.untilUsed(2, 0, 1000)
	first.erase(http.StatusOK, "")
	first.forget() // the uploader would remove the events
	if err := c.bus.Stream(event.Jobs()).Purge(c.Context(), event.ProgressSubject(first.id), 0); err != nil {
		t.Fatal(err)
	}
	c.untilUsed(1, 0, 0)
	if u := c.usageOf("bob"); u.Jobs != 0 || u.Staged != 0 || u.Stored != 0 || u.Log != 0 {
		t.Errorf("another uses %+v", u)
	}
}

func TestARecordingIsNotUsedAnyMoreAfterItsRetention(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	j := c.job()
	j.receivedOf("alice")
	j.storedInBucket()
	j.failed()
	c.untilUsed(1, 0, 1000)
	c.replica(map[string]string{"AUDIO_RETENTION": "1ms", "DEADLINE_SWEEP_INTERVAL": "50ms"})
	c.untilUsed(1, 0, 0)
}

func TestTheUsageIsThePrincipalsOwn(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	j := c.job()
	j.receivedOf("alice")
	c.untilUsed(1, 1000, 0)
	if status, text := c.askUsage("?job="+j.id+"&job="+c.job().id, c.as(user("alice"))); status != http.StatusOK || !strings.Contains(text, `"recorded":["`+j.id+`"]`) {
		t.Errorf("her: %d %s", status, text)
	}
	for name, p := range map[string]principal.Principal{"another": user("bob"), "an admin": admin(), "nobody's": user("")} {
		status, text := c.askUsage("?job="+j.id, c.as(p))
		if want := `{"jobs":0,"staged_bytes":0,"stored_bytes":0,"log_bytes":0,"recorded":[]}`; status != http.StatusOK || strings.TrimSpace(text) != want {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	if status, text := c.askUsage("", nil); status != http.StatusUnauthorized {
		t.Errorf("no principal: %d %s", status, text)
	}
	if status, text := c.askUsage("", c.as(principal.Principal{Owner: "alice", Scopes: []principal.Scope{principal.JobsWrite}})); status != http.StatusForbidden {
		t.Errorf("without the scope: %d %s", status, text)
	}
	for _, query := range []string{"?job=x", "?job=' OR 1=1", "?job=", "?" + strings.Repeat("job="+j.id+"&", 257)} {
		if status, text := c.askUsage(strings.ReplaceAll(query, " ", "%20"), c.as(user("alice"))); status != http.StatusBadRequest {
			t.Errorf("%.20s: %d %s", query, status, text)
		}
	}
}

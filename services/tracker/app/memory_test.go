package app_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"sori.internal/shared/principal"
	"sori.internal/shared/testkit"
)

// largeJob returns a completed job of an owner, with a result of n bytes.
func (c *env) largeJob(owner string, n int) *testJob {
	c.t.Helper()
	j := c.attemptedJob()
	j.dispatched(1)
	j.completed(`{"a":1}`)
	j.awaitStatus("completed", 100)
	c.exec(`UPDATE tracker.analysis_results SET owner = $2, result = $3::json WHERE job_id = $1`, j.id, owner, `{"pitch": "`+strings.Repeat("0123456789", n/10)+`"}`)
	return j
}

// requestUnread sends a request and never reads the response.
func (c *env) requestUnread(path string, p principal.Principal) {
	c.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.url, "http://"))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\n%s: %s\r\n\r\n", path, principal.Header, c.as(p)[principal.Header]); err != nil {
		c.t.Fatal(err)
	}
}

// TestReadersThatDoNotReadHoldBoundedMemory is not parallel: it measures the memory of the process.
func TestReadersThatDoNotReadHoldBoundedMemory(t *testing.T) { //nolint:paralleltest // see above
	const readers, size = 40, 12 << 20
	c := open(t, map[string]string{"RESULT_MEMORY": fmt.Sprint(256 << 20)})
	alice := principal.Principal{Owner: "alice", Scopes: principal.UserScopes()}
	bob := principal.Principal{Owner: "bob", Scopes: principal.UserScopes()}
	large, small, other := c.largeJob("alice", size), c.largeJob("bob", 100), c.largeJob("bob", size)
	p99 := func() time.Duration {
		var took []time.Duration
		for range 50 {
			began := time.Now()
			if a := c.get(small.resultURL(), c.as(bob)); a.status != http.StatusOK {
				t.Errorf("another's small result: %d %s", a.status, a.raw)
			}
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		return took[len(took)*99/100]
	}
	quiet := p99()
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range readers {
		path := "/tokens/analysis-result/"
		if i%2 == 1 {
			path = "/tokens/analysis-progress/"
		}
		c.requestUnread(path+large.id, alice)
	}
	attacked := make(chan time.Duration, 1)
	go func() { attacked <- p99() }()
	var peak uint64
	testkit.Eventually(t, func() error { // some results are being sent; the other requests waited for memory and were refused
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		peak = max(peak, now.HeapAlloc)
		if n := strings.Count(c.Logged(), "Too many large results"); n < readers-10 {
			return fmt.Errorf("%d of %d are refused", n, readers)
		}
		return nil
	})
	grown := (int64(peak) - int64(before.HeapAlloc)) >> 20
	t.Logf("%d readers of %d MiB that do not read hold at most %d MiB, garbage included", readers, size>>20, grown)
	if grown > 400 {
		t.Errorf("they hold %d MiB", grown)
	}
	t.Logf("p99 of another user: quiet %v, attacked %v", quiet, <-attacked)
	resp := c.send(c.Context(), http.MethodGet, other.resultURL(), c.as(bob))
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK || n < size {
		t.Errorf("another's large result: %s, %d bytes, %v", resp.Status, n, err)
	}
}

func TestALargeResultIsSentAsItIsStored(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	j := c.largeJob("alice", 200<<10)
	a := c.get(j.resultURL(), nil)
	if a.status != http.StatusOK || a.body.Status != "completed" || len(a.body.Result) < 200<<10 || !strings.HasSuffix(string(a.body.Result), `0123456789"}`) {
		t.Errorf("%d, %s, %d bytes", a.status, a.body.Status, len(a.body.Result))
	}
	if a.header.Get("Content-Type") != "application/json" || !strings.HasSuffix(a.raw, `"cached":false}`) {
		t.Errorf("%v, …%s", a.header, a.raw[max(0, len(a.raw)-60):])
	}
}

// Postgres takes five times as long to compress a result with pglz, its default.
func TestLargeResultsAreCompressedWithLZ4IfPostgresHasIt(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	j := c.largeJob("alice", 1_000_000)
	const query = `
		SELECT pg_column_compression(result) AS got,
		    CASE WHEN 'lz4' = ANY (enumvals) THEN 'lz4' ELSE 'pglz' END AS want
		FROM tracker.analysis_results, pg_settings
		WHERE job_id = $1 AND name = 'default_toast_compression'`
	var method struct{ Got, Want string }
	if err := c.db().GetContext(c.Context(), &method, query, j.id); err != nil || method.Got != method.Want {
		t.Errorf("a result is compressed with %s, want %s, %v", method.Got, method.Want, err)
	}
}

package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// page is a page of a list.
type page struct {
	answer
	Jobs []struct {
		JobID string `json:"job_id"`
	} `json:"jobs"`
	NextCursor *string `json:"next_cursor"`
}

// page requests a page of a list. It ends the test if the answer is not a page.
func (c *env) page(url string) page {
	c.t.Helper()
	p := page{answer: c.get(url, nil)}
	if err := json.Unmarshal([]byte(p.raw), &p); err != nil || p.status != http.StatusOK || p.Jobs == nil {
		c.t.Fatalf("%s: %d %s", url, p.status, p.raw)
	}
	return p
}

func (p page) ids() []string {
	ids := make([]string, len(p.Jobs))
	for i, j := range p.Jobs {
		ids[i] = j.JobID
	}
	return ids
}

// next returns the URL of the next page from the Link header; "" on the last page.
func (p page) next(base string) string {
	link, ok := strings.CutPrefix(p.header.Get("Link"), "<")
	target, _, closed := strings.Cut(link, `>; rel="next"`)
	if !ok || !closed {
		return ""
	}
	return base + target
}

// walk lists all jobs that a query selects, page by page. It alternates between the two ways to the
// next page, the Link header and the cursor, and between the replicas.
func (c *env) walk(query string, perPage func(), urls ...string) []string {
	c.t.Helper()
	var ids []string
	at := urls[0] + "/jobs/?" + query
	for turn := 1; ; turn++ {
		p := c.page(at)
		ids = append(ids, p.ids()...)
		base := urls[turn%len(urls)]
		if at = p.next(base); (at == "") != (p.NextCursor == nil) {
			c.t.Fatalf("link %q, cursor %v", p.header.Get("Link"), p.NextCursor)
		}
		if at == "" {
			return ids
		}
		if turn%2 == 0 {
			at = base + "/jobs?" + query + "&cursor=" + *p.NextCursor
		}
		perPage()
	}
}

// began returns the time at which the first job of env.insertJobs is created.
func began() time.Time { return time.Date(2026, 1, 31, 9, 0, 0, 0, time.UTC) }

// insertJobs inserts records of n jobs. Job i has the token 1+i%3 and the status i%4, and is
// created i steps after began. The ids descend, so that for jobs with the same time the order of
// the list differs from the order of creation.
func (c *env) insertJobs(n int, step time.Duration) (ids []string) {
	c.t.Helper()
	for i := range n {
		ids = append(ids, fmt.Sprintf("01890a5d-ac96-774b-bcce-%012x", n-i))
	}
	c.exec(`
		INSERT INTO tracker.analysis_results
		    (job_id, token_id, status, stage, progress, version, error_code, error_detail, error_retryable, created_at, updated_at)
		SELECT ('01890a5d-ac96-774b-bcce-' || lpad(to_hex($1::int - i), 12, '0'))::uuid, 1 + i % 3, s,
		       CASE s WHEN 'processing' THEN 'received' ELSE s END,
		       CASE s WHEN 'completed' THEN 100 ELSE 10 END, 1,
		       CASE s WHEN 'failed' THEN 'c' END, CASE s WHEN 'failed' THEN 'd' END, CASE s WHEN 'failed' THEN true END, at, at
		FROM generate_series(0, $1 - 1) AS i,
		     LATERAL (SELECT (ARRAY ['processing', 'completed', 'failed', 'canceled'])[1 + i % 4], $2::timestamptz + i * $3::interval) AS made (s, at)`,
		n, began(), step.String())
	return ids
}

func TestPagesOfOneMomentHaveNoGapAndNoRepetition(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	urls := []string{c.url, c.replica(nil)}
	want := c.insertJobs(450, 0)
	arrived := 0
	for _, query := range []string{"limit=37", "limit=37&status=completed&status=failed,processing,canceled", "limit=1&status=failed"} {
		found := c.walk(query, func() {
			if arrived++; arrived%5 == 0 {
				j := c.job()
				j.received()
				j.awaitStatus("processing", 10)
			}
		}, urls...)
		chosen := want
		if strings.HasSuffix(query, "status=failed") {
			chosen = nil
			for i := 2; i < len(want); i += 4 {
				chosen = append(chosen, want[i])
			}
		}
		// Jobs that are created while the list is read may or may not be in it.
		found = slices.DeleteFunc(found, func(id string) bool { return !slices.Contains(want, id) })
		if !slices.Equal(found, chosen) { // the ids descend
			t.Errorf("%s: %d of %d jobs, or in another order", query, len(found), len(chosen))
		}
	}
}

func TestEveryFilterSelectsItsJobs(t *testing.T) {
	t.Parallel()
	const jobs = 120
	c := open(t, nil)
	ids := c.insertJobs(jobs, time.Second)
	statuses := []string{"processing", "completed", "failed", "canceled"}
	at := func(i int) string {
		return url.QueryEscape(began().Add(time.Duration(i) * time.Second).In(time.FixedZone("", 9*3600)).Format(time.RFC3339))
	}
	for _, s := range []struct {
		query  string
		chosen []int
	}{
		{"", []int{0, 1, 2, 3}}, {"&status=", []int{0, 1, 2, 3}}, {"&status=failed", []int{2}}, {"&status=failed,processing,failed", []int{0, 2}},
		{"&status=completed&status=canceled", []int{1, 3}}, {"&status=" + strings.Join(statuses, ","), []int{0, 1, 2, 3}},
	} {
		for _, token := range []int{0, 2, 9} {
			for _, span := range []struct{ from, before int }{{0, jobs}, {30, jobs}, {0, 31}, {30, 31}, {30, 90}, {40, 40}} {
				query := "limit=17" + s.query
				if token > 0 {
					query += fmt.Sprint("&token_id=", token)
				}
				if span.from > 0 {
					query += "&created_after=" + at(span.from)
				}
				if span.before < jobs {
					query += "&created_before=" + at(span.before)
				}
				var want []string
				for i := span.before - 1; i >= span.from; i-- {
					if slices.Contains(s.chosen, i%4) && (token == 0 || 1+i%3 == token) {
						want = append(want, ids[i])
					}
				}
				if got := c.walk(query, func() {}, c.url); !slices.Equal(got, want) {
					t.Errorf("%s:\n got %v\nwant %v", query, got, want)
				}
			}
		}
	}
	// A cursor may be used with another filter: the list continues after the cursor's job.
	p := c.page(c.url + "/jobs/?limit=20")
	if got := c.page(c.url + "/jobs/?limit=1&token_id=1&created_before=" + at(110) + "&cursor=" + *p.NextCursor).ids(); !slices.Equal(got, ids[99:100]) {
		t.Errorf("behind the twentieth: %v", got)
	}
}

func TestAPageHasFiftyJobsByDefault(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	if p := c.page(c.url + "/jobs"); len(p.Jobs) != 0 || p.NextCursor != nil || p.header.Get("Link") != "" {
		t.Errorf("without jobs: %s", p.raw)
	}
	ids := c.insertJobs(201, time.Second)
	slices.Reverse(ids)
	for query, want := range map[string]int{"": 50, "?": 50, "?limit=": 50, "?limit=1": 1, "?limit=200": 200, "?unknown=7&cursor=&token_id=": 50} {
		p := c.page(c.url + "/jobs/" + query)
		if !slices.Equal(p.ids(), ids[:want]) || p.NextCursor == nil {
			t.Errorf("%s: %d jobs", query, len(p.Jobs))
		}
		if plain, err := url.Parse(*p.NextCursor); err != nil || plain.String() != *p.NextCursor || url.QueryEscape(*p.NextCursor) != *p.NextCursor {
			t.Errorf("cursor %s does not fit a URL: %v", *p.NextCursor, err)
		}
	}
}

func TestAListShowsAJobAsItsResultDoes(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	failed, waiting, running := c.job(), c.job(), c.job()
	failed.received()
	failed.stored()
	failed.attempted(1)
	failed.failed()
	failed.awaitStatus("failed", 70)
	waiting.received()
	waiting.stored()
	waiting.attempted(1)
	waiting.publish(event.Waiting{JobID: waiting.id, Attempt: 1, Until: began(), Code: "analysis-unavailable"})
	waiting.awaitStatus("processing", 70)
	running.received()
	running.stored()
	running.attempted(1)
	running.dispatched(1)
	running.progressed(50, "음높이")
	running.awaitStatus("processing", 94)
	for _, language := range []string{"ko", "en"} {
		header := map[string]string{"Accept-Language": language}
		list := c.get(c.url+"/jobs/", header)
		if h := list.header; h.Get("Vary") != varyBy || h.Get("Content-Language") != language ||
			h.Get("Cache-Control") != "private, no-cache" || h.Get("Content-Type") != "application/json" {
			t.Errorf("headers %v", h)
		}
		var told struct {
			Jobs []map[string]any `json:"jobs"`
		}
		if err := json.Unmarshal([]byte(list.raw), &told); err != nil || len(told.Jobs) != 3 {
			t.Fatalf("%v: %s", err, list.raw)
		}
		for i, j := range []*testJob{running, waiting, failed} {
			var want map[string]any
			if err := json.Unmarshal([]byte(c.get(j.resultURL(), header).raw), &want); err != nil {
				t.Fatal(err)
			}
			delete(want, "result")
			delete(want, "cached")
			if want["file_name"] != "녹음 1.wav" {
				t.Errorf("the result names the file %v", want["file_name"])
			}
			want["media_type"], want["size"], want["duration"], want["attempt"] = "audio/wav", 1000.0, 2.0, 1.0
			if got := told.Jobs[i]; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("\n got %v\nwant %v", got, want)
			}
		}
	}
	if a := c.request(http.MethodHead, c.url+"/jobs", nil); a.status != http.StatusOK || a.raw != "" {
		t.Errorf("HEAD: %d %q", a.status, a.raw)
	}
}

func TestAListHasOnlyJobsWhoseReceivedIsRecorded(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	hidden, shown := c.job(), c.job()
	c.exec(`INSERT INTO tracker.analysis_results (job_id) VALUES ($1)`, hidden.id)
	shown.received()
	shown.awaitStatus("processing", 10)
	if p := c.page(c.url + "/jobs/"); !slices.Equal(p.ids(), []string{shown.id}) || !strings.Contains(p.raw, `"duration":null`) {
		t.Error(p.raw)
	}
}

func TestEveryInvalidParameterOfAListIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	for query, want := range map[string]string{
		"limit=201": "limit", "limit=0": "limit", "limit=-1": "limit", "limit=1.5": "limit", "limit=x": "limit",
		"limit=99999999999999999999": "limit", "limit=+5": "limit",
		"token_id=0": "token_id", "token_id=-7": "token_id", "token_id=9223372036854775808": "token_id", "token_id=x": "token_id",
		"status=done": "status", "status=failed,Completed": "status", "status=failed&status=%00": "status",
		"created_after=yesterday": "created_after", "created_before=2026-01-31": "created_before",
		"created_after=2026-01-31T09:00:00+09:00": "created_after", "created_after=2026-02-30T09:00:00Z": "created_after",
		"created_after=0000-01-01T00:00:00Z":                                     "created_after",
		"created_before=9999-12-31T23:59:59-23:59":                               "created_before",
		"created_after=2026-01-31T09:00:01Z&created_before=2026-01-31T09:00:00Z": "created_before",
		"cursor=x": "cursor", "cursor=%00": "cursor", "cursor=AAAA": "cursor", "cursor=" + strings.Repeat("A", 5000): "cursor",
		"cursor=MS54": "cursor", // 1.x
		"cursor=LTk5OTk5OTk5OTk5OTk5OTk5LjAxODkwYTVkLWFjOTYtNzc0Yi1iY2NlLWIzMDIwOTlhODA1Nw": "cursor", // a time before the year 1
		"limit=0&token_id=x&status=y&created_after=z&created_before=a&cursor=!":             "status token_id created_after created_before cursor limit",
	} {
		a := c.get(c.url+"/jobs/?"+query, nil)
		var told struct {
			Errors []struct{ Pointer, Detail string } `json:"errors"`
		}
		if err := json.Unmarshal([]byte(a.raw), &told); err != nil {
			t.Fatal(err)
		}
		var pointers []string
		for _, e := range told.Errors {
			pointers = append(pointers, e.Pointer)
		}
		if a.status != http.StatusUnprocessableEntity || a.body.Code != "validation-failed" || strings.Join(pointers, " ") != want {
			t.Errorf("%s: %d %s", query, a.status, a.raw)
		}
	}
	for _, query := range []string{"limit=%zz", "a;b=c"} {
		if a := c.get(c.url+"/jobs/?"+query, nil); a.status != http.StatusBadRequest || a.body.Code != "malformed-request" {
			t.Errorf("%s: %d %s", query, a.status, a.raw)
		}
	}
	if a := c.request(http.MethodPost, c.url+"/jobs/", nil); a.status != http.StatusNotFound || a.body.Code != "route-not-found" {
		t.Errorf("POST: %d %s", a.status, a.raw)
	}
}

func TestAListWaitsForItsDatabase(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	c.insertJobs(3, time.Second)
	proxy, database := startProxy(t, c.MigratedDatabase())
	url := c.replica(map[string]string{"DATABASE_URL": database})
	proxy.set(true)
	if a := c.get(url+"/jobs/", nil); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %v %s", a.status, a.header, a.raw)
	}
	proxy.set(false)
	testkit.Eventually(t, func() error {
		if a := c.get(url+"/jobs/", nil); a.status != http.StatusOK {
			return fmt.Errorf("%d %s", a.status, a.raw)
		}
		return nil
	})
}

// Lists that wait for the database hold connections, which the events of jobs need.
func TestListsLeaveConnectionsAndThoseOfOneUserLeavePlaces(t *testing.T) {
	t.Parallel()
	c := open(t, map[string]string{"DATABASE_MAX_CONNECTIONS": "16"}) // 8 for lists, 2 of them for the lists of one user
	lock, err := c.db().BeginTxx(c.Context(), nil)
	if err == nil {
		_, err = lock.ExecContext(c.Context(), `LOCK TABLE tracker.analysis_results IN ACCESS EXCLUSIVE MODE`)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Rollback() }()
	var lists sync.WaitGroup
	list := func(owner string) {
		for range 16 {
			lists.Go(func() {
				if a := c.get(c.url+"/jobs/", c.as(user(owner))); a.status != http.StatusOK {
					t.Errorf("a list of %s is answered with %d %s", owner, a.status, a.raw)
				}
			})
		}
	}
	db := c.db()
	held := func() (n int) {
		const waiting = `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%AS chosen (one)%' AND datname = current_database()`
		if err := db.GetContext(c.Context(), &n, waiting); err != nil {
			t.Fatal(err)
		}
		return n
	}
	until := func(want int) {
		testkit.Eventually(t, func() error {
			if n := held(); n != want {
				return fmt.Errorf("lists hold %d connections, want %d", n, want)
			}
			return nil
		})
	}
	list("alice")
	until(2)
	for _, owner := range []string{"bob", "carol", "dave", "erin"} {
		list(owner)
	}
	until(8)
	if n := held(); n > 8 {
		t.Errorf("lists hold %d connections", n)
	}
	if err := lock.Rollback(); err != nil {
		t.Error(err)
	}
	lists.Wait()
}

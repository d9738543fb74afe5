package api

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
	"time"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/services/tracker/internal/query"
	"sori.internal/shared/fault"
)

const exampleID = "01890a5d-ac96-774b-bcce-b302099a8057"

// brokenRules returns the names of the parameters that an error refuses.
func brokenRules(err error) []string {
	var names []string
	if f, ok := errors.AsType[*fault.Error](err); ok {
		for _, v := range f.Violations {
			names = append(names, v.Pointer)
		}
	}
	return names
}

func TestTheLastEventIsTakenFromTheHeaderOrTheQuery(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		header, query string
		seen          int64
	}{
		{"", "", noneSeen}, {"7", "", 7}, {"", "last_event_id=7", 7}, {"", "lastEventId=7", 7}, {"8", "last_event_id=7&lastEventId=6", 8},
		{"", "lastEventId=6&last_event_id=7", 7}, {"x", "", noneSeen}, {"", "lastEventId=-1", noneSeen},
	} {
		r := httptest.NewRequest(http.MethodGet, "/?"+c.query, nil)
		r.Header.Set("Last-Event-ID", c.header)
		if seen := lastEventID(r); seen != c.seen {
			t.Errorf("header %q, query %q: %d", c.header, c.query, seen)
		}
	}
}

func TestAListOfStatusesMayBeWrittenInEveryUsualWay(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"status=canceled,failed", "status=failed&status=canceled", "status[]=failed&status[]=canceled", "status%5B%5D=canceled&status%5B%5D=failed",
		"status=failed&status[]=canceled",
	} {
		values, err := url.ParseQuery(text)
		if err != nil {
			t.Fatal(err)
		}
		if f, _, err := parseFilter(values); err != nil || !slices.Equal(f.Statuses, []job.Status{job.Canceled, job.Failed}) {
			t.Errorf("%s: %v, %v", text, f.Statuses, err)
		}
	}
}

func TestAListIsFilteredByValidParametersOnly(t *testing.T) {
	t.Parallel()
	cursor := formatCursor(query.Cursor{CreatedAt: time.Unix(1, 0).UTC(), JobID: exampleID})
	for text, want := range map[string][]string{
		"":                            nil,
		"status=&token_id=&limit=":    nil,
		"unknown=1":                   nil,
		"status=failed,completed":     nil,
		"status=failed&status=failed": nil,
		"created_after=2026-01-31T09:00:00Z&created_before=2026-01-31T18:00:00%2B09:00": nil,
		"created_after=2026-01-31T09:00:01Z&created_before=2026-01-31T18:00:00%2B09:00": {"created_before"},
		"created_after=2026-01-31":                {"created_after"},
		"created_before=99999-01-01T00:00:00Z":    {"created_before"},
		"status=running":                          {"status"},
		"status[]=running":                        {"status"},
		"status=failed,erased":                    {"status"},
		"token_id=0":                              {"token_id"},
		"token_id=a":                              {"token_id"},
		"limit=0":                                 {"limit"},
		"limit=201":                               {"limit"},
		"cursor=" + cursor:                        nil,
		"cursor=x":                                {"cursor"},
		"status=x&token_id=x&cursor=x&limit=x":    {"status", "token_id", "cursor", "limit"},
		"cursor=" + cursor[:len(cursor)-1]:        {"cursor"},
		"cursor=OTk5OTk5OTk5OTk5OTk5OTk5LjAxODkw": {"cursor"},
	} {
		values, err := url.ParseQuery(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := parseFilter(values); !slices.Equal(brokenRules(err), want) || (err == nil) != (want == nil) {
			t.Errorf("%s: %v, want %v", text, err, want)
		}
	}
}

func TestAFilterSelectsWhatItsParametersSay(t *testing.T) {
	t.Parallel()
	values := url.Values{
		"status": {"failed,canceled", "failed"}, "token_id": {"7"}, "limit": {"3"},
		"created_after": {"2026-01-31T18:00:00+09:00"}, "created_before": {"2026-02-01T00:00:00Z"},
	}
	f, limit, err := parseFilter(values)
	if err != nil || limit != 3 || f.TokenID != 7 || !slices.Equal(f.Statuses, []job.Status{job.Canceled, job.Failed}) ||
		!f.From.Equal(time.Date(2026, 1, 31, 9, 0, 0, 0, time.UTC)) || !f.Before.Equal(time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v, limit %d: %v", f, limit, err)
	}
	f, limit, err = parseFilter(url.Values{})
	if err != nil || limit != defaultLimit || !slices.Equal(f.Statuses, job.Statuses()) || f.After != (query.Cursor{}) {
		t.Errorf("without parameters: %+v, limit %d: %v", f, limit, err)
	}
}

func FuzzCursor(f *testing.F) {
	f.Add(int64(1769850000123456), exampleID)
	f.Add(int64(0), exampleID)
	f.Add(int64(-62135596800000000), exampleID)
	f.Fuzz(func(t *testing.T, micros int64, id string) {
		c := query.Cursor{CreatedAt: time.UnixMicro(micros).UTC(), JobID: id}
		read, ok := parseCursor(formatCursor(c))
		if valid := id == exampleID && representable(c.CreatedAt); valid && (!ok || read != c) {
			t.Errorf("%+v became %+v, %t", c, read, ok)
		}
		if ok && !representable(read.CreatedAt) {
			t.Errorf("%+v is accepted", read)
		}
	})
}

func TestALongPollWaitsAsLongAsItsClientPrefersUpToAMinute(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		query   string
		prefer  []string
		wait    time.Duration
		applied string
		valid   bool
	}{
		{"", nil, 0, "", true},
		{"wait=0", nil, 0, "", true},
		{"wait=60", nil, time.Minute, "", true},
		{"wait=61", nil, 0, "", false},
		{"wait=-1", nil, 0, "", false},
		{"wait=1.5", nil, 0, "", false},
		{"wait=", nil, 0, "", false},
		{"", []string{"wait=30"}, 30 * time.Second, "wait=30", true},
		{"", []string{`respond-async, WAIT = "5" ; foo=1`}, 5 * time.Second, "wait=5", true},
		{"", []string{"return=minimal", "wait=7, wait=9"}, 7 * time.Second, "wait=7", true},
		{"", []string{"wait=3600"}, time.Minute, "wait=60", true},
		{"", []string{"wait=soon"}, 0, "", true},
		{"", []string{"wait=-3"}, 0, "", true},
		{"", []string{"waiting=3"}, 0, "", true},
		{"wait=2", []string{"wait=30"}, 2 * time.Second, "", true},
	} {
		r := httptest.NewRequest(http.MethodGet, "/?"+c.query, http.NoBody)
		r.Header["Prefer"] = c.prefer
		wait, applied, err := waitOf(r)
		if wait != c.wait || applied != c.applied || (err == nil) != c.valid {
			t.Errorf("%q, %q: %v, %q, %v", c.query, c.prefer, wait, applied, err)
		}
	}
}

func TestFlagsAreTrueOrFalse(t *testing.T) {
	t.Parallel()
	for text, c := range map[string]struct{ forced, forcedValid, download, downloadValid bool }{
		"":                         {false, true, false, true},
		"force=true&download=1":    {true, true, true, true},
		"force=1&download=true":    {true, true, true, true},
		"force=True&download=True": {true, true, true, true},
		"force=false&download=0":   {false, true, false, true},
		"force=&download=":         {false, false, false, true},
		"force=yes&download=yes":   {false, false, false, false},
		"force=true&force=false":   {false, false, false, true},
		"force=FALSE&download=no":  {false, true, false, false},
	} {
		r := httptest.NewRequest(http.MethodPost, "/?"+text, http.NoBody)
		force, err := forceOf(r)
		if force != c.forced || (err == nil) != c.forcedValid {
			t.Errorf("%s: force is %t, %v", text, force, err)
		}
		download, err := downloadOf(r.URL.Query())
		if download != c.download || (err == nil) != c.downloadValid {
			t.Errorf("%s: download is %t, %v", text, download, err)
		}
	}
}

package api

import (
	"context"
	"encoding/base64"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/services/tracker/internal/query"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/httpd"
	"sori.internal/shared/locale"
)

// Lister lists jobs.
type Lister interface {
	// List returns the first of the jobs that a filter chooses, at most limit.
	List(ctx context.Context, f query.Filter, limit int) ([]query.Listed, error)
}

// listBody is the answer to GET /jobs/.
type listBody struct {
	Jobs       []listedBody `json:"jobs"`
	NextCursor *string      `json:"next_cursor"` // null on the last page
}

// listedBody is a job of a list.
type listedBody struct {
	jobBody
	FileName  string   `json:"file_name"`
	MediaType string   `json:"media_type"`
	Size      int64    `json:"size"`     // bytes
	Duration  *float64 `json:"duration"` // seconds; null where unknown
	Attempt   int      `json:"attempt"`
}

func listedOf(l query.Listed, language locale.Language) listedBody {
	body := listedBody{
		jobBody:  bodyOf(l.Snapshot, language),
		FileName: l.FileName, MediaType: l.MediaType, Size: l.Size, Attempt: l.Attempt,
	}
	if l.Duration > 0 {
		body.Duration = &l.Duration
	}
	return body
}

// list answers a page of jobs, newest first, and where the next one is.
func (a *API) list(w http.ResponseWriter, r *http.Request) error {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return fault.Wrap(fault.Invalid, "malformed-request", "The query of the request is malformed.", err)
	}
	filter, limit, err := choice(values)
	if err != nil {
		return err
	}
	found, err := a.Lister.List(r.Context(), filter, limit+1) // one more tells whether there is a next page
	if err != nil {
		return err
	}
	h, language, body := w.Header(), a.language(r), listBody{Jobs: []listedBody{}}
	if len(found) > limit {
		found = found[:limit]
		next := cursor(found[limit-1].Cursor())
		body.NextCursor = &next
		values.Set("cursor", next)
		h.Set("Link", "<"+r.URL.EscapedPath()+"?"+values.Encode()+`>; rel="next"`)
	}
	for _, l := range found {
		body.Jobs = append(body.Jobs, listedOf(l, language))
	}
	h.Set("Vary", "Accept-Language")
	h.Set("Cache-Control", "private, no-cache")
	h.Set("Content-Language", string(language))
	return httpd.JSON(w, http.StatusOK, body)
}

// The jobs of a page.
const (
	usualLimit = 50
	mostLimit  = 200
)

// choice reads what a query chooses. What it does not know it leaves alone; what
// is there without a value, as forms send it, is absent.
func choice(values url.Values) (f query.Filter, limit int, err error) {
	q := params{values: values}
	f.Statuses = q.statuses("status")
	f.TokenID = q.number("token_id", 0, math.MaxInt64, "must be a positive integer")
	f.From, f.Before = q.time("created_after"), q.time("created_before")
	if !f.Before.IsZero() && f.Before.Before(f.From) {
		q.refuse("created_before", "must not be earlier than created_after")
	}
	f.After = q.place("cursor")
	limit = int(q.number("limit", usualLimit, mostLimit, fmt.Sprintf("must be an integer from 1 to %d", mostLimit)))
	if len(q.broken) > 0 {
		return query.Filter{}, 0, invalid(q.broken...)
	}
	return f, limit, nil
}

// params reads query parameters and collects every rule that they break.
type params struct {
	values url.Values
	broken []fault.Violation
}

func (q *params) refuse(name, detail string) {
	q.broken = append(q.broken, fault.Violation{Pointer: name, Detail: detail})
}

// statuses reads one or several, with commas between them or one by one; all
// where there is none.
func (q *params) statuses(name string) []job.Status {
	var chosen []job.Status
	for _, value := range q.values[name] {
		for part := range strings.SplitSeq(value, ",") {
			if part != "" {
				chosen = append(chosen, job.Status(part))
			}
		}
	}
	known := job.Statuses()
	if len(chosen) == 0 {
		return known
	}
	if slices.ContainsFunc(chosen, func(s job.Status) bool { return !slices.Contains(known, s) }) {
		q.refuse(name, "must be processing, completed, failed or canceled, or several of them")
	}
	slices.Sort(chosen)
	return slices.Compact(chosen)
}

// number reads an integer from 1 on.
func (q *params) number(name string, absent, most int64, rule string) int64 {
	text := q.values.Get(name)
	if text == "" {
		return absent
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 || n > most {
		q.refuse(name, rule)
	}
	return n
}

func (q *params) time(name string) time.Time {
	text := q.values.Get(name)
	if text == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, text)
	if t = t.UTC(); err != nil || !writable(t) {
		q.refuse(name, "must be a time like 2026-01-31T09:00:00Z or 2026-01-31T18:00:00%2B09:00")
	}
	return t
}

func (q *params) place(name string) query.Cursor {
	text := q.values.Get(name)
	if text == "" {
		return query.Cursor{}
	}
	p, ok := parseCursor(text)
	if !ok {
		q.refuse(name, "must be a next_cursor, as it was given")
	}
	return p
}

// cursor is a place as clients carry it about, who need not know what it says.
func cursor(p query.Cursor) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d.%s", p.CreatedAt.UnixMicro(), p.JobID))
}

func parseCursor(s string) (query.Cursor, bool) {
	text, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return query.Cursor{}, false
	}
	micros, id, _ := strings.Cut(string(text), ".")
	n, err := strconv.ParseInt(micros, 10, 64)
	id, ok := event.ParseJobID(id)
	at := time.UnixMicro(n).UTC()
	return query.Cursor{CreatedAt: at, JobID: id}, ok && err == nil && writable(at)
}

// writable reports whether a time has a year that everybody writes alike.
func writable(t time.Time) bool { return t.Year() >= 1 && t.Year() <= 9999 }

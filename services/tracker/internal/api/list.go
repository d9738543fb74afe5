package api

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
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
	"sori.internal/shared/principal"
	parameters "sori.internal/shared/query"
)

// Lister lists jobs.
type Lister interface {
	// List returns the first jobs that match the filter, at most limit.
	List(ctx context.Context, f query.Filter, limit int) ([]query.Listed, error)
}

// listBody is the response to GET /jobs/.
type listBody struct {
	Jobs       []listedBody `json:"jobs"`
	NextCursor *string      `json:"next_cursor"` // null on the last page
}

// listedBody is a job in a list.
type listedBody struct {
	jobBody
	MediaType string   `json:"media_type"`
	Size      int64    `json:"size"`     // bytes
	Duration  *float64 `json:"duration"` // seconds; null if unknown
	Attempt   int      `json:"attempt"`
	Cached    bool     `json:"cached,omitempty"` // the result was copied from another job with the same recording
}

func (a *API) listedOf(l query.Listed, language locale.Language) listedBody {
	body := listedBody{
		jobBody:   a.bodyOf(l.Snapshot, language),
		MediaType: l.MediaType, Size: l.Size, Attempt: l.Attempt, Cached: l.Cached,
	}
	if l.Duration > 0 {
		body.Duration = &l.Duration
	}
	return body
}

// list responds with a page of jobs, newest first, and the cursor of the next page.
func (a *API) list(w http.ResponseWriter, r *http.Request) error {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return fault.MalformedRequest("The query of the request is malformed.", err)
	}
	filter, limit, err := parseFilter(values)
	if err != nil {
		return err
	}
	found, err := a.listFor(r.Context(), filter, limit+1) // one job more than the page shows whether there is a next page
	if err != nil {
		return err
	}
	h, language, body := w.Header(), a.language(r), listBody{Jobs: []listedBody{}}
	if len(found) > limit {
		found = found[:limit]
		next := formatCursor(found[limit-1].Cursor())
		body.NextCursor = &next
		values.Set("cursor", next)
		h.Set("Link", parameters.Link(r.URL.EscapedPath(), values, "next"))
	}
	for _, l := range found {
		body.Jobs = append(body.Jobs, a.listedOf(l, language))
	}
	h.Set("Vary", varyBy)
	h.Set("Cache-Control", "private, no-cache")
	h.Set("Content-Language", string(language))
	return httpd.JSON(w, http.StatusOK, body)
}

// listFor lists the jobs that match a filter and to which the principal has access. If the filter
// has another owner than the principal, the list is empty, whether or not that owner exists.
func (a *API) listFor(ctx context.Context, f query.Filter, limit int) ([]query.Listed, error) {
	if p := principal.From(ctx); !p.May(principal.Admin) {
		if !p.Sees(cmp.Or(f.Owner, p.Owner)) {
			return nil, nil
		}
		f.Owner = p.Owner
	}
	return a.Lister.List(ctx, f, limit)
}

// The number of jobs on a page.
const (
	defaultLimit = 50
	maxLimit     = 200
)

// parseFilter parses the filter and the limit of a list. It ignores unknown parameters, and treats
// an empty parameter, which HTML forms send, as absent.
func parseFilter(values url.Values) (f query.Filter, limit int, err error) {
	q := params{values: values, Params: parameters.Params{Get: values.Get}}
	f.Statuses = q.statuses("status")
	f.Owner = q.owner("owner")
	f.TokenID = q.ID("token_id")
	f.From, f.Before = q.time("created_after"), q.time("created_before")
	if !f.Before.IsZero() && f.Before.Before(f.From) {
		q.Refuse("created_before", "must not be earlier than created_after")
	}
	f.After = q.cursor("cursor")
	limit = int(q.Integer("limit", defaultLimit, 1, maxLimit))
	return f, limit, q.Err()
}

// params parses the query parameters of a list, and collects their errors.
type params struct {
	parameters.Params

	values url.Values
}

// statuses parses a parameter with statuses, which may be separated by commas or repeated, also with
// brackets: axios and jQuery write status[]=failed&status[]=canceled for an array. It returns all
// statuses if the parameter is absent.
func (q *params) statuses(name string) []job.Status {
	var selected []job.Status
	for _, value := range slices.Concat(q.values[name], q.values[name+"[]"]) {
		for part := range strings.SplitSeq(value, ",") {
			if part != "" {
				selected = append(selected, job.Status(part))
			}
		}
	}
	known := job.Statuses()
	if len(selected) == 0 {
		return known
	}
	if slices.ContainsFunc(selected, func(s job.Status) bool { return !slices.Contains(known, s) }) {
		q.Refuse(name, "must be processing, completed, failed or canceled, or several of them")
	}
	slices.Sort(selected)
	return slices.Compact(selected)
}

func (q *params) owner(name string) string {
	owner := q.values.Get(name)
	if owner != "" && !principal.ValidOwner(owner) {
		q.Refuse(name, "must be at most 255 bytes of UTF-8 without control characters")
	}
	return owner
}

func (q *params) time(name string) time.Time {
	text := q.values.Get(name)
	if text == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, text)
	if t = t.UTC(); err != nil || !representable(t) {
		q.Refuse(name, "must be a time like 2026-01-31T09:00:00Z or 2026-01-31T18:00:00%2B09:00")
	}
	return t
}

func (q *params) cursor(name string) query.Cursor {
	text := q.values.Get(name)
	if text == "" {
		return query.Cursor{}
	}
	c, ok := parseCursor(text)
	if !ok {
		q.Refuse(name, "must be a next_cursor, as it was given")
	}
	return c
}

// formatCursor encodes a cursor. Clients must not rely on its format.
func formatCursor(c query.Cursor) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d.%s", c.CreatedAt.UnixMicro(), c.JobID))
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
	return query.Cursor{CreatedAt: at, JobID: id}, ok && err == nil && representable(at)
}

// representable reports whether RFC 3339 can represent the year of t.
func representable(t time.Time) bool { return t.Year() >= 1 && t.Year() <= 9999 }

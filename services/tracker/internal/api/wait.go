package api

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"sori.internal/shared/fault"
)

// maxWait is the longest duration of a long poll.
const maxWait = 60 * time.Second

// waitOf returns for how long the response may be delayed. It parses the query parameter wait, or
// else the preference wait in the Prefer header (RFC 7240), of which at most maxWait is applied.
// applied is the value for Preference-Applied; "" if there is no preference.
func waitOf(r *http.Request) (wait time.Duration, applied string, err error) {
	if query := r.URL.Query(); query.Has("wait") {
		seconds, err := strconv.Atoi(query.Get("wait"))
		if err != nil || seconds < 0 || seconds > int(maxWait.Seconds()) {
			return 0, "", fault.ValidationFailed(fault.Violation{Pointer: "wait", Detail: "must be a whole number of seconds from 0 to 60"})
		}
		return time.Duration(seconds) * time.Second, "", nil
	}
	seconds, ok := preferredWait(r.Header.Values("Prefer"))
	if !ok {
		return 0, "", nil
	}
	seconds = min(seconds, int(maxWait.Seconds()))
	return time.Duration(seconds) * time.Second, "wait=" + strconv.Itoa(seconds), nil
}

// preferredWait returns the first preference wait in the lines of the Prefer header. It returns
// false if there is none, or if its value is malformed.
func preferredWait(lines []string) (seconds int, ok bool) {
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ",") {
			preference, _, _ := strings.Cut(part, ";")
			name, value, _ := strings.Cut(preference, "=")
			if !strings.EqualFold(strings.TrimSpace(name), "wait") {
				continue
			}
			seconds, err := strconv.Atoi(strings.Trim(strings.TrimSpace(value), `"`))
			return seconds, err == nil && seconds >= 0
		}
	}
	return 0, false
}

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

// waitOf returns how long the response may be delayed. It reads ?wait=30, which must be valid, or
// the preference wait (RFC 7240), which is limited to maxWait. applied is the value of
// Preference-Applied.
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

// preferredWait returns the value of the preference wait. If there are several, the first is used.
// A malformed value is ignored.
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

package api

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"sori.internal/shared/fault"
)

// entityTags are those that If-None-Match lists (RFC 9110, section 13.1.2).
type entityTags struct {
	any  bool
	list []string
}

func ifNoneMatch(r *http.Request) entityTags {
	var t entityTags
	for _, line := range r.Header.Values("If-None-Match") {
		for part := range strings.SplitSeq(line, ",") {
			tag := strings.TrimPrefix(strings.TrimSpace(part), "W/") // the comparison is weak
			if tag == "*" {
				t.any = true
			} else if tag != "" {
				t.list = append(t.list, tag)
			}
		}
	}
	return t
}

func (t entityTags) given() bool { return len(t.list) > 0 }

func (t entityTags) match(tag string) bool {
	if t.any {
		return true
	}
	return slices.Contains(t.list, tag)
}

// maxWait is the longest time that a long poll may take.
const maxWait = 60 * time.Second

// waitOf reads how long the response may be delayed: ?wait=30, which must be valid, or the
// preference wait (RFC 7240), which is cut to maxWait. The second result is Preference-Applied.
func waitOf(r *http.Request) (wait time.Duration, applied string, err error) {
	if query := r.URL.Query(); query.Has("wait") {
		seconds, err := strconv.Atoi(query.Get("wait"))
		if err != nil || seconds < 0 || seconds > int(maxWait.Seconds()) {
			return 0, "", invalid(fault.Violation{Pointer: "wait", Detail: "must be a whole number of seconds from 0 to 60"})
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

// invalid is the error of a request whose parameters are invalid.
func invalid(broken ...fault.Violation) error {
	return &fault.Error{Kind: fault.Invalid, Code: "validation-failed", Detail: "The request breaks a rule.", Violations: broken}
}

// preferredWait finds the preference wait. Of several the first counts; a malformed one is
// ignored.
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

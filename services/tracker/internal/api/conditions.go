package api

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"sori.internal/shared/fault"
)

// tags is what If-None-Match lists (RFC 9110, section 13.1.2).
type tags struct {
	any  bool
	list []string
}

func knownTags(r *http.Request) tags {
	var t tags
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

func (t tags) given() bool { return len(t.list) > 0 }

func (t tags) match(tag string) bool {
	if t.any {
		return true
	}
	for _, known := range t.list {
		if known == tag {
			return true
		}
	}
	return false
}

// maxWait is the longest that a reply is held.
const maxWait = 60 * time.Second

// waitOf tells how long a reply may be held: ?wait=30, which must be right, or a
// preference (RFC 7240), which is honoured as far as it goes and then confirmed
// by what the second value says.
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

// invalid is the failure of a request whose parameters break rules.
func invalid(broken ...fault.Violation) error {
	return &fault.Error{Kind: fault.Invalid, Code: "validation-failed", Detail: "The request breaks a rule.", Violations: broken}
}

// preferredWait finds the wait preference. Of several the first counts; one that
// makes no sense is no preference.
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

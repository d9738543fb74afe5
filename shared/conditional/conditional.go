// Package conditional evaluates the headers If-Match and If-None-Match of conditional requests
// (RFC 9110, section 13.1).
package conditional

import "strings"

// ETags is the value of If-Match or If-None-Match. The zero value is the value of an absent header.
type ETags struct {
	Any  bool     // the value is or contains a star
	Tags []string // the entity tags with their quotes, and with W/ if they are weak
}

// Parse reads the lines of a header. Empty members are ignored.
func Parse(lines []string) ETags {
	var t ETags
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			switch tag := strings.TrimSpace(member); tag {
			case "":
			case "*":
				t.Any = true
			default:
				t.Tags = append(t.Tags, tag)
			}
		}
	}
	return t
}

// MatchWeak reports whether the tags contain an entity tag by the weak comparison, which
// If-None-Match uses. A star matches every tag.
func (t ETags) MatchWeak(tag string) bool {
	if t.Any {
		return true
	}
	for _, given := range t.Tags {
		if strings.TrimPrefix(given, "W/") == strings.TrimPrefix(tag, "W/") {
			return true
		}
	}
	return false
}

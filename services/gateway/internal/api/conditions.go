package api

import (
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"sori.internal/services/gateway/internal/catalogue"
)

// entityTag names an entry's version, and by a mark what else is shown with it.
// A change overwrites the version alone: If-Match does not look at the mark.
func entityTag(version int64, mark string) string {
	if mark == "" {
		return fmt.Sprintf(`"%d"`, version)
	}
	return fmt.Sprintf(`"%d-%s"`, version, mark)
}

// versionOf reads the version out of a strong tag of ours.
func versionOf(tag string) (int64, bool) {
	inner, opened := strings.CutPrefix(tag, `"`)
	inner, closed := strings.CutSuffix(inner, `"`)
	number, _, _ := strings.Cut(inner, "-")
	version, err := strconv.ParseInt(number, 10, 64)
	return version, opened && closed && err == nil
}

// expected is what If-Match asks for (RFC 9110, section 13.1.1); any version
// where it is absent or a star. A tag that is not ours, or weak, is no version:
// who sends it must not overwrite anything.
func expected(c *fiber.Ctx) catalogue.Match {
	lines := every(c, fiber.HeaderIfMatch)
	if len(lines) == 0 {
		return nil
	}
	m := catalogue.Match{}
	for tag := range listed(lines) {
		if tag == "*" {
			return nil
		}
		if version, ok := versionOf(tag); ok {
			m = append(m, version)
		}
	}
	return m
}

// known reports whether If-None-Match lists a tag (section 13.1.2). The
// comparison is weak.
func known(c *fiber.Ctx, tag string) bool {
	for given := range listed(every(c, fiber.HeaderIfNoneMatch)) {
		if given == "*" || strings.TrimPrefix(given, "W/") == tag {
			return true
		}
	}
	return false
}

// listed walks through the members of a header's lists.
func listed(lines []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range lines {
			for member := range strings.SplitSeq(line, ",") {
				if !yield(strings.TrimSpace(member)) {
					return
				}
			}
		}
	}
}

// answerOnce answers a GET, unless the client has the answer already.
func answerOnce(c *fiber.Ctx, v view) error {
	c.Set(fiber.HeaderETag, v.tag)
	c.Set(fiber.HeaderCacheControl, "private, no-cache") // may be kept, must be asked about
	if known(c, v.tag) {
		c.Status(fiber.StatusNotModified)
		return nil
	}
	return c.JSON(v.body)
}

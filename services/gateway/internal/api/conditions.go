package api

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"sori.internal/services/gateway/internal/catalogue"
	"sori.internal/shared/conditional"
)

// entityTag returns an entity tag for the version of an entry. The digest, if there is one, covers
// the rest of the representation. A change overwrites only the entry itself, so If-Match ignores
// the digest.
func entityTag(version int64, digest string) string {
	if digest == "" {
		return fmt.Sprintf(`"%d"`, version)
	}
	return fmt.Sprintf(`"%d-%s"`, version, digest)
}

// versionOf returns the version in a strong tag. It reports false for a tag that entityTag has not
// made.
func versionOf(tag string) (int64, bool) {
	inner, opened := strings.CutPrefix(tag, `"`)
	inner, closed := strings.CutSuffix(inner, `"`)
	number, _, _ := strings.Cut(inner, "-")
	version, err := strconv.ParseInt(number, 10, 64)
	return version, opened && closed && err == nil
}

// ifMatch reads the versions that If-Match allows to be changed (RFC 9110, section 13.1.1). Any
// version is allowed if the header is absent or *. A weak tag, or a tag that entityTag has not
// made, allows no version, so that its sender cannot overwrite anything.
func ifMatch(c *fiber.Ctx) catalogue.Match {
	lines := headerLines(c, fiber.HeaderIfMatch)
	tags := conditional.Parse(lines)
	if len(lines) == 0 || tags.Any {
		return nil
	}
	m := catalogue.Match{}
	for _, tag := range tags.Tags {
		if version, ok := versionOf(tag); ok {
			m = append(m, version)
		}
	}
	return m
}

// sendConditional answers a GET. The status is 304 if If-None-Match contains the entity tag.
func sendConditional(c *fiber.Ctx, r representation) error {
	c.Set(fiber.HeaderETag, r.etag)
	c.Set(fiber.HeaderCacheControl, "private, no-cache") // caches may store the answer, but must revalidate it
	if conditional.Parse(headerLines(c, fiber.HeaderIfNoneMatch)).MatchWeak(r.etag) {
		c.Status(fiber.StatusNotModified)
		return nil
	}
	return c.JSON(r.body)
}

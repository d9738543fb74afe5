package upload

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/textproto"
	"strings"
	"unicode/utf8"

	"sori.internal/services/gateway/internal/quota"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/source"
)

// AnalyzeRequest is the request to analyse a recording that is fetched from a URL.
type AnalyzeRequest struct {
	TokenID int64
	Owner   string // owner of the job; empty if requests are not authenticated
	Fresh   bool   // the recording is to be analysed, even if a result is cached
	Body    []byte // JSON

	// IdempotencyKey has the lines of the Idempotency-Key header.
	IdempotencyKey []string
}

// AcceptSource accepts a recording that the uploader fetches. If it returns no error, the event is
// durable. The size of the recording is not known before it is stored, and counts in the budgets of
// its owner only then. AcceptSource fails with fault.RateLimited if a budget is already used up.
func (c *Core) AcceptSource(ctx context.Context, r AnalyzeRequest) (Accepted, error) {
	src, err := decodeSource(r.Body, c.allowed)
	if err != nil {
		return Accepted{}, err
	}
	key, err := parseKey(r.IdempotencyKey, r.Owner)
	if err != nil {
		return Accepted{}, err
	}
	return c.begin(ctx, event.Received{TokenID: r.TokenID, Owner: r.Owner, Fresh: r.Fresh}, key, func() (content, error) { return remote{source: src}, nil })
}

// remote is a recording that the uploader fetches.
type remote struct{ source source.Source }

// stage implements content. It stages nothing, since the uploader fetches the recording.
func (r remote) stage(ctx context.Context, c *Core, received event.Received) (event.Received, *quota.Reservation, error) {
	reserved, err := c.reserve(ctx, received, 1)
	if err != nil {
		return received, nil, err
	}
	if err := reserved.Staged(ctx, 0); err != nil {
		reserved.Release()
		return received, nil, err
	}
	received.FileName = CleanName(r.source.FileName())
	received.Source, err = c.sealer.Seal(received.JobID, r.source)
	if err != nil {
		reserved.Release()
	}
	return received, reserved, err
}

// identify implements content.
func (r remote) identify(c *Core) (string, error) { return c.sealer.Fingerprint(r.source) }

// identityOf returns the hash of the content of an accepted job, as identify returned it: the
// SHA-256 of the recording, or the fingerprint of its source.
func (c *Core) identityOf(received event.Received) (string, error) {
	if received.Source == "" {
		return received.SHA256, nil
	}
	src, err := c.sealer.Open(received.JobID, received.Source)
	if err != nil {
		return "", fmt.Errorf("job %s: %w", received.JobID, err)
	}
	return c.sealer.Fingerprint(src)
}

// decodeSource reads the body of a request. Unknown members are ignored. No violation contains a part
// of the URL or of a header.
func decodeSource(body []byte, allowed source.Allowed) (source.Source, error) {
	if !utf8.Valid(body) || !json.Valid(body) {
		return source.Source{}, fault.MalformedJSON("The body is not JSON in UTF-8.", nil)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil || members == nil {
		return source.Source{}, fault.ValidationFailed(fault.Violation{Pointer: "", Detail: "must be a JSON object"})
	}
	d := sourceDecoder{members: members, allowed: allowed}
	d.url()
	d.headers()
	d.digest()
	if len(d.violations) > 0 {
		return source.Source{}, fault.ValidationFailed(d.violations...)
	}
	return d.found, nil
}

// sourceDecoder reads the members of the body and collects the violations of their rules.
type sourceDecoder struct {
	members    map[string]json.RawMessage
	allowed    source.Allowed
	found      source.Source
	violations []fault.Violation
}

func (d *sourceDecoder) refuse(pointer, detail string) {
	d.violations = append(d.violations, fault.Violation{Pointer: pointer, Detail: detail})
}

// read reads a member into a value, and reports whether it is present. Null counts as absent.
func (d *sourceDecoder) read(member string, value any, must string) bool {
	raw, ok := d.members[member]
	if !ok || bytes.Equal(raw, []byte("null")) {
		return false
	}
	if err := json.Unmarshal(raw, value); err != nil {
		d.refuse("/"+member, must)
		return false
	}
	return true
}

func (d *sourceDecoder) url() {
	before := len(d.violations)
	if !d.read("audio_url", &d.found.URL, "must be a string") {
		if len(d.violations) == before {
			d.refuse("/audio_url", "is required")
		}
		return
	}
	if _, err := d.allowed.Parse(d.found.URL); err != nil {
		d.refuse("/audio_url", sourceReason(err))
	}
}

func (d *sourceDecoder) headers() {
	var headers map[string]*string
	if !d.read("headers", &headers, "must be an object whose values are strings") || len(headers) == 0 {
		return
	}
	if d.found.IsObject() {
		d.refuse("/headers", "must be absent: an object of S3 is copied without a request to its URL")
		return
	}
	if len(headers) > source.MaxHeaders {
		d.refuse("/headers", fmt.Sprintf("must have at most %d members", source.MaxHeaders))
		return
	}
	d.found.Header = make(map[string]string, len(headers))
	size := 0
	for name, value := range headers {
		if value == nil {
			d.refuse("/headers", "must be an object whose values are strings")
			return
		}
		if err := source.CheckHeader(name, *value); err != nil {
			d.refuse("/headers", sourceReason(err))
			return
		}
		size += len(name) + len(*value)
		name = textproto.CanonicalMIMEHeaderKey(name)
		if _, twice := d.found.Header[name]; twice {
			d.refuse("/headers", "must have each name once: upper and lower case do not differ")
			return
		}
		d.found.Header[name] = *value
	}
	if size > source.MaxHeader {
		d.refuse("/headers", fmt.Sprintf("must have at most %d bytes of names and values", source.MaxHeader))
	}
}

// digest reads the announced SHA-256: as in Content-Digest (RFC 9530), or in hexadecimal.
func (d *sourceDecoder) digest() {
	var text string
	if !d.read("digest", &text, "must be a string") {
		return
	}
	text = strings.TrimSpace(text)
	sum, err := hex.DecodeString(text)
	if err != nil || len(sum) != sha256.Size {
		sum, err = ParseDigest(text)
	}
	if err != nil || sum == nil {
		d.refuse("/digest", "must be sha-256=:base64:, or a SHA-256 of 64 hexadecimal digits")
		return
	}
	d.found.SHA256 = hex.EncodeToString(sum)
}

// sourceReason returns the text of a source.Reason.
func sourceReason(err error) string {
	var reason source.Reason
	if errors.As(err, &reason) {
		return string(reason)
	}
	return "is not usable"
}

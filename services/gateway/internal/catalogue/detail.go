package catalogue

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/rs/zerolog"

	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
	"sori.internal/shared/membound"
	"sori.internal/shared/principal"
)

// Tokens finds tokens.
type Tokens interface {
	Token(ctx context.Context, id int64) (Token, error)
}

// Objects accesses the objects that references name.
type Objects interface {
	// Read returns an object of at most limit bytes. It first calls admit with the size of the
	// object, and returns the error of admit, if any. It fails for a reference to a URL on another
	// host, which it never requests.
	Read(ctx context.Context, ref string, limit int64, admit func(size int64) error) ([]byte, error)
	// Link returns a URL that lets anybody read an object. The parameter valid is the time until
	// the URL expires.
	Link(ctx context.Context, ref string, valid time.Duration) (string, error)
}

// The limits of a detail.
const (
	maxPitch     = 8 << 20 // bytes
	copies       = 3       // copies of a pitch that are in memory at the same time: as it is read, as it is encoded, and as it is sent
	pitchTimeout = 3 * time.Second
	linkValid    = 15 * time.Minute
)

// Detail is a token with the objects that its references name.
type Detail struct {
	Token
	Pitch   json.RawMessage // nil if the token has no pitch, or the pitch was left out
	BGVoice *string         // URL at which anybody can read the background voice; nil if there is none, or it was left out

	// Digest changes if the detail changes without a change of the token's version: if the scripts
	// or the pitch change, or when half of the validity of the link is over. It is empty for a
	// token without scripts and references.
	Digest string

	// Memory is the memory that the pitch uses. The caller must release it when the detail is sent.
	Memory *membound.Lease
}

// Details finds details.
type Details struct {
	tokens  Tokens
	objects Objects
	memory  *membound.Bound
}

// NewDetails makes a Details. memory bounds the pitches that are being read and sent.
func NewDetails(tokens Tokens, objects Objects, memory *membound.Bound) *Details {
	return &Details{tokens: tokens, objects: objects, memory: memory}
}

// Detail returns a token with the objects that its references name. If an object cannot be read,
// Detail leaves it out and logs the reason, so that it returns the token even while S3 is
// unavailable. It fails with fault.Exhausted if there is no memory for the pitch.
func (d *Details) Detail(ctx context.Context, id int64) (Detail, error) {
	t, err := d.tokens.Token(ctx, id)
	if err != nil {
		return Detail{}, err
	}
	found := Detail{Token: t}
	if t.PitchURL != nil {
		if err := d.addPitch(ctx, &found); err != nil {
			return Detail{}, err
		}
	}
	if t.BGVoiceURL != nil {
		if link, err := d.objects.Link(ctx, *t.BGVoiceURL, linkValid); err != nil {
			logLeftOut(ctx, id, err, "background voice left out")
		} else {
			found.BGVoice = &link
		}
	}
	found.Digest = found.digest(time.Now())
	return found, nil
}

// addPitch adds the pitch to a detail, or leaves the pitch out if it cannot be read. It fails only
// if there is no memory for the pitch.
func (d *Details) addPitch(ctx context.Context, to *Detail) error {
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	timeout := time.AfterFunc(pitchTimeout, cancel)
	defer timeout.Stop()
	var busy error
	pitch, err := d.readPitch(reading, *to.PitchURL, func(size int64) error {
		timeout.Stop() // the wait for memory has a timeout of its own
		defer timeout.Reset(pitchTimeout)
		to.Memory, busy = d.memory.Acquire(ctx, principal.From(ctx).Owner, copies*size)
		return busy
	})
	if busy != nil {
		return busy //nolint:wrapcheck // the client receives this failure
	}
	if err != nil && reading.Err() != nil && ctx.Err() == nil {
		err = fault.Unreachable("storage", err)
	}
	if err != nil {
		to.Memory.Release()
		logLeftOut(ctx, to.ID, err, "pitch left out")
		return nil
	}
	to.Pitch = pitch
	return nil
}

func (d *Details) readPitch(ctx context.Context, ref string, admit func(size int64) error) (json.RawMessage, error) {
	text, err := d.objects.Read(ctx, ref, maxPitch, admit)
	if err != nil {
		return nil, fmt.Errorf("read pitch: %w", err)
	}
	if !utf8.Valid(text) || !json.Valid(text) {
		return nil, fault.MalformedJSON("The pitch is not JSON in UTF-8.", nil)
	}
	return text, nil
}

// logLeftOut logs that an object was left out. The level is warn if a retry may succeed, otherwise
// info.
func logLeftOut(ctx context.Context, token int64, err error, message string) {
	level := zerolog.InfoLevel
	if fault.KindOf(err).Retryable() {
		level = zerolog.WarnLevel
	}
	zerolog.Ctx(ctx).WithLevel(level).Err(err).Int64(logging.TokenID, token).
		Str(logging.Kind, fault.KindOf(err).String()).Msg(message)
}

// digest computes Digest. Digest changes when half of a link's validity is over, so that a link in
// a client's cache is still valid for the other half.
func (d Detail) digest(now time.Time) string {
	if len(d.Scripts) == 0 && d.PitchURL == nil && d.BGVoiceURL == nil {
		return ""
	}
	h := sha256.New()
	for _, s := range d.Scripts {
		fmt.Fprintf(h, "%d.%d ", s.ID, s.Version)
	}
	if d.BGVoice != nil {
		fmt.Fprintf(h, "until %d ", now.Truncate(linkValid/2).Unix())
	}
	h.Write(d.Pitch)
	return hex.EncodeToString(h.Sum(nil)[:8])
}

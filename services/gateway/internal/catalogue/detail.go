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
)

// Tokens finds tokens.
type Tokens interface {
	Token(ctx context.Context, id int64) (Token, error)
}

// Objects reaches what references name.
type Objects interface {
	// Read returns an object of at most limit bytes. It fails for a reference that
	// is no object of ours: whatever a URL names, it is not asked for from here.
	Read(ctx context.Context, ref string, limit int64) ([]byte, error)
	// Link returns a URL with which anybody may read an object, for a while.
	Link(ctx context.Context, ref string, valid time.Duration) (string, error)
}

// The bounds of what a detail waits for and holds.
const (
	maxPitch     = 8 << 20 // bytes
	pitchTimeout = 3 * time.Second
	linkValid    = time.Hour
)

// Detail is a token with what its references name.
type Detail struct {
	Token
	Pitch   json.RawMessage // nil where there is none to show
	BGVoice *string         // a URL that needs no credentials

	// Mark tells apart what details of one version of the token show beside it:
	// its scripts, its pitch, and a link while that is good. Empty for nothing.
	Mark string
}

// Details makes details.
type Details struct {
	tokens  Tokens
	objects Objects
}

// NewDetails makes a maker of details.
func NewDetails(tokens Tokens, objects Objects) *Details {
	return &Details{tokens: tokens, objects: objects}
}

// Detail returns a token with what its references name. What cannot be had is
// left out, and the log says why: no object and no storage is worth the token.
func (d *Details) Detail(ctx context.Context, id int64) (Detail, error) {
	t, err := d.tokens.Token(ctx, id)
	if err != nil {
		return Detail{}, err
	}
	found := Detail{Token: t}
	if t.PitchURL != nil {
		if found.Pitch, err = d.pitch(ctx, *t.PitchURL); err != nil {
			leftOut(ctx, id, err, "pitch left out")
		}
	}
	if t.BGVoiceURL != nil {
		if link, err := d.objects.Link(ctx, *t.BGVoiceURL, linkValid); err != nil {
			leftOut(ctx, id, err, "background voice left out")
		} else {
			found.BGVoice = &link
		}
	}
	found.Mark = found.mark(time.Now())
	return found, nil
}

func (d *Details) pitch(ctx context.Context, ref string) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, pitchTimeout)
	defer cancel()
	text, err := d.objects.Read(ctx, ref, maxPitch)
	if err != nil {
		return nil, fmt.Errorf("read pitch: %w", err)
	}
	if !utf8.Valid(text) || !json.Valid(text) {
		return nil, fault.New(fault.Invalid, "malformed-json", "The pitch is not JSON in UTF-8.")
	}
	return text, nil
}

// leftOut tells what a detail lacks: as a warning what may be there next time.
func leftOut(ctx context.Context, token int64, err error, message string) {
	level := zerolog.InfoLevel
	if fault.KindOf(err).Retryable() {
		level = zerolog.WarnLevel
	}
	zerolog.Ctx(ctx).WithLevel(level).Err(err).Int64(logging.TokenID, token).
		Str(logging.Kind, fault.KindOf(err).String()).Msg(message)
}

// mark makes the mark. A link counts as another one when half of its time is
// over, so that one that was kept is good for the other half.
func (d Detail) mark(now time.Time) string {
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

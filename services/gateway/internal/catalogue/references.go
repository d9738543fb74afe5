package catalogue

import (
	"context"

	"github.com/rs/zerolog"
)

// TokensWithReferences lists tokens that have references.
type TokensWithReferences interface {
	// TokensWithReferences returns at most limit tokens that have references, in the order of their
	// ids. All ids are greater than the parameter after.
	TokensWithReferences(ctx context.Context, after int64, limit int) ([]Token, error)
}

const (
	reportPage = 1000 // tokens read at once
	maxNamed   = 20   // tokens named in a report
)

// ReportReferences logs the tokens with references that are not allowed, since nobody can upload to
// these tokens. Such a reference was stored before references were checked, or the setting has
// changed since. check returns an error if a reference is not allowed.
func ReportReferences(ctx context.Context, store TokensWithReferences, check func(ref string) error, log zerolog.Logger) {
	var (
		named []int64
		count int
		after int64
	)
	for {
		tokens, err := store.TokensWithReferences(ctx, after, reportPage)
		if err != nil {
			log.Warn().Err(err).Msg("references not checked")
			return
		}
		for _, t := range tokens {
			after = t.ID
			if t.allowed(check) {
				continue
			}
			if count++; count <= maxNamed {
				named = append(named, t.ID)
			}
		}
		if len(tokens) < reportPage {
			break
		}
	}
	if count > 0 {
		log.Warn().Int("tokens", count).Ints64("first", named).Str("setting", "REFERENCE_PREFIXES").
			Msg("tokens have references that are not allowed")
	}
}

// allowed reports whether the references that the analysis needs are allowed.
func (t Token) allowed(check func(ref string) error) bool {
	for _, ref := range []*string{t.TextGridURL, t.PitchURL} {
		if ref != nil && check(*ref) != nil {
			return false
		}
	}
	return true
}

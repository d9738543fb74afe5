package catalogue_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"sori.internal/services/gateway/internal/catalogue"
)

// tokens is a store of n tokens with the ids 1 to n. The references of every hundredth token are
// not allowed.
type tokens int64

func (n tokens) TokensWithReferences(_ context.Context, after int64, limit int) ([]catalogue.Token, error) {
	if n < 0 {
		return nil, errors.New("the database is away")
	}
	var page []catalogue.Token
	for id := after + 1; id <= int64(n) && len(page) < limit; id++ {
		ref := fmt.Sprintf("pitch/%d.json", id)
		if id%100 == 0 {
			ref = "secret"
		}
		page = append(page, catalogue.Token{ID: id, PitchURL: &ref})
	}
	return page, nil
}

func TestTokensThatNobodyCanUploadToAreReported(t *testing.T) {
	t.Parallel()
	for n, want := range map[tokens]string{
		0: "", 99: "", 100: `"tokens":1,"first":[100]`, 3000: `"tokens":30,"first":[100,200,300,`, -1: "the database is away",
	} {
		var log bytes.Buffer
		catalogue.ReportReferences(t.Context(), n, func(ref string) error {
			if ref == "secret" {
				return errors.New("it is a secret")
			}
			return nil
		}, zerolog.New(&log))
		if got := log.String(); (got == "") != (want == "") || !strings.Contains(got, want) || strings.Contains(got, "2100") {
			t.Errorf("%d tokens: %s, want %s", n, got, want)
		}
	}
}

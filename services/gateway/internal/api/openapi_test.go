package api

import (
	"strings"
	"testing"

	"sori.internal/shared/testkit/contract"
)

func documented(t *testing.T) *contract.Document {
	t.Helper()
	text, err := Document("1.2.3", "")
	if err != nil {
		t.Fatal(err)
	}
	d, err := contract.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTheDocumentIsOpenAPI(t *testing.T) {
	t.Parallel()
	d := documented(t)
	if err := d.Validate(); err != nil {
		t.Errorf("%v", err)
	}
	n, err := d.CheckExamples()
	if err != nil {
		t.Error(err)
	}
	if n < 50 {
		t.Errorf("only %d examples were found", n)
	}
}

func TestTheDocumentIsWrittenInItsOrderAndWithItsVersion(t *testing.T) {
	t.Parallel()
	text, err := Document(`1.2 "3"`, "/api")
	if err != nil {
		t.Fatal(err)
	}
	last := -1
	for _, part := range []string{`{"openapi":"3.1.0",`, `"version":"1.2 \"3\""`, `"servers":[{"url":"/api",`, `"/tokens/{token_id}/upload-audio"`, `"/jobs/"`, `"webhooks"`, `"components"`} {
		at := strings.Index(string(text), part)
		if at <= last {
			t.Errorf("%s is at %d, behind %d", part, at, last)
		}
		last = at
	}
}

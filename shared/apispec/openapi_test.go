package apispec_test

import (
	"testing"

	"sori.internal/shared/testkit/contract"
)

func TestTheDocumentIsOpenAPI(t *testing.T) {
	t.Parallel()
	d, err := contract.Sori()
	if err != nil {
		t.Fatal(err)
	}
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

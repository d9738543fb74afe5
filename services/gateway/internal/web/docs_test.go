package web

import "testing"

func TestAFileOfTheDocumentationIsDecompressedOnce(t *testing.T) {
	t.Parallel()
	d, err := NewDocs(nil)
	if err != nil {
		t.Fatal(err)
	}
	f := d.files["swagger-ui-bundle.js"]
	first, err := f.read("")
	if err != nil || len(first) < 1<<20 {
		t.Fatalf("%d bytes, %v", len(first), err)
	}
	again, err := f.read("")
	if err != nil || &again[0] != &first[0] {
		t.Errorf("another copy, %v", err)
	}
}

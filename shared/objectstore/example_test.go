package objectstore_test

import (
	"fmt"

	"sori.internal/shared/objectstore"
)

// People write down the address of an object in several forms.
func ExampleConfig_Parse() {
	cfg := objectstore.Config{Region: "us-east-1", Bucket: "sori", References: "reference-files", Endpoint: "http://s3:7070"}
	for _, written := range []string{
		"s3://voices/7.json", "https://voices.s3.amazonaws.com/7.json", "http://s3:7070/voices/7.json", "7.json", "https://example.com/7.json",
	} {
		reference, ours := cfg.Parse(written)
		fmt.Println(ours, reference.Bucket, reference.Key)
	}
	// Output:
	// true voices 7.json
	// true voices 7.json
	// true voices 7.json
	// true reference-files 7.json
	// false
}

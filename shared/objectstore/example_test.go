package objectstore_test

import (
	"fmt"

	"sori.internal/shared/fault"
	"sori.internal/shared/objectstore"
)

// A reference to an object is an s3 URL, an https URL of the storage, or only a key.
func ExampleConfig_Resolve() {
	cfg := objectstore.Config{Region: "us-east-1", Bucket: "sori", References: "reference-files", Endpoint: "http://s3:7070"}
	for _, written := range []string{
		"s3://sori/pitch/7.json", "https://sori.s3.amazonaws.com/pitch/7.json", "7.json", "s3://sori/audio/7.wav", "s3://another/7.json", "https://example.com/7.json",
	} {
		reference, err := cfg.Resolve(written)
		if err != nil {
			fmt.Println(fault.As(err).Code)
			continue
		}
		fmt.Println(reference.S3())
	}
	// Output:
	// s3://sori/pitch/7.json
	// s3://sori/pitch/7.json
	// s3://reference-files/7.json
	// reference-not-allowed
	// reference-not-allowed
	// reference-foreign
}

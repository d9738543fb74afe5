package logging_test

import (
	"bytes"
	"encoding/json"
	"fmt"

	"sori.internal/shared/logging"
)

func ExampleNew() {
	var out bytes.Buffer
	log, err := logging.New(logging.Config{Level: "info", Format: "json"}, "uploader", "1.2.3", &out)
	if err != nil {
		fmt.Println(err)
		return
	}
	log.Info().Str(logging.JobID, "7").Msg("recording stored")
	log.Debug().Msg("left out at this level")

	var line map[string]string
	fmt.Println(json.Unmarshal(out.Bytes(), &line))
	fmt.Println(line["level"], line[logging.Service], line[logging.JobID], line["message"])
	// Output:
	// <nil>
	// info uploader 7 recording stored
}

// Command uploader stores recordings in the bucket: staged uploads, fetched recordings, and uploads
// that clients send to the bucket or in several requests.
package main

import (
	"os"

	"sori.internal/services/uploader/app"
	"sori.internal/shared/lifecycle"
)

func main() { os.Exit(lifecycle.Main(app.Run, &app.Config{})) }

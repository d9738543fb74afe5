// Command uploader stores recordings in the bucket: staged uploads, recordings that it fetches from
// URLs, and recordings that clients send to the bucket or to the uploader in several requests.
package main

import (
	"os"

	"sori.internal/services/uploader/app"
	"sori.internal/shared/lifecycle"
)

func main() { os.Exit(lifecycle.Main(app.Run, &app.Config{})) }

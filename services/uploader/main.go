// Command uploader copies staged recordings into the bucket.
package main

import (
	"os"

	"sori.internal/services/uploader/app"
	"sori.internal/shared/lifecycle"
)

func main() { os.Exit(lifecycle.Main(app.Run, &app.Config{})) }

// Command tracker keeps a record of every job and serves it, live updates included.
package main

import (
	"os"

	"sori.internal/services/tracker/app"
	"sori.internal/shared/lifecycle"
)

func main() { os.Exit(lifecycle.Main(app.Run, &app.Config{})) }

// Command tracker records the state of every job and serves it, with live updates.
package main

import (
	"os"

	"sori.internal/services/tracker/app"
	"sori.internal/shared/lifecycle"
)

func main() { os.Exit(lifecycle.Main(app.Run, &app.Config{})) }

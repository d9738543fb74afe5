// Command tracker keeps the record of every job and shows it live.
package main

import (
	"os"

	"sori.internal/services/tracker/app"
	"sori.internal/shared/lifecycle"
)

func main() { os.Exit(lifecycle.Main(app.Run, &app.Config{})) }

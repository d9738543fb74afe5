// Command dispatcher talks with the analysis server, both ways.
package main

import (
	"os"

	"sori.internal/services/dispatcher/app"
	"sori.internal/shared/lifecycle"
)

func main() { os.Exit(lifecycle.Main(app.Run, &app.Config{})) }

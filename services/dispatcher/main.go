// Command dispatcher sends requests to the analysis server and receives its callbacks.
package main

import (
	"os"

	"sori.internal/services/dispatcher/app"
	"sori.internal/shared/lifecycle"
)

func main() { os.Exit(lifecycle.Main(app.Run, &app.Config{})) }

// Command gateway is the public door: it takes recordings in and passes on what
// other services answer.
package main

import (
	"os"

	"sori.internal/services/gateway/app"
	"sori.internal/shared/lifecycle"
)

func main() { os.Exit(lifecycle.Main(app.Run, &app.Config{})) }

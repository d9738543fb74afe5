// Command gateway is the public HTTP server of Sori: it accepts recordings, and forwards requests
// to the other services.
package main

import (
	"os"

	"sori.internal/services/gateway/app"
	"sori.internal/shared/lifecycle"
)

func main() { os.Exit(lifecycle.Main(app.Run, &app.Config{})) }

package buildinfo_test

import (
	"fmt"

	"sori.internal/shared/buildinfo"
)

// A program that was built with
//
//	go build -ldflags="-X sori.internal/shared/buildinfo.version=1.2.0"
//
// prints "Sori 1.2.0".
func ExampleVersion() {
	fmt.Println("Sori", buildinfo.Version())
}

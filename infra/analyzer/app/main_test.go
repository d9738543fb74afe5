package app_test

import (
	"os"
	"testing"

	"sori.internal/infra/analyzer/app"
)

func TestMain(m *testing.M) {
	if ran, code := app.RunChild(); ran {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

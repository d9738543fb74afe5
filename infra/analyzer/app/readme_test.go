package app_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/caarlos0/env/v11"

	"sori.internal/infra/analyzer/app"
)

func TestREADMEListsEverySetting(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	params, err := env.GetFieldParams(&app.Config{})
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, p := range params {
		known[p.Key] = true
		if !strings.Contains(string(text), "`"+p.Key+"`") {
			t.Errorf("%s is missing", p.Key)
		}
		if p.DefaultValue != "" && p.DefaultValue != "us-east-1" && !strings.Contains(string(text), "`"+p.DefaultValue+"`") {
			t.Errorf("the default %s of %s is missing", p.DefaultValue, p.Key)
		}
	}
	for _, line := range strings.Split(string(text), "\n") {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		for _, word := range strings.Split(strings.Split(line, "|")[1], "`") {
			if strings.ToUpper(word) == word && strings.Contains(word, "_") && !known[word] {
				t.Errorf("%s is listed and no setting", word)
			}
		}
	}
}

func TestSecretsPrintAsAsterisks(t *testing.T) {
	t.Parallel()
	cfg := app.Config{SecretKey: "hidden"}
	if text := fmt.Sprintf("%v %+v %#v", cfg, cfg, cfg); strings.Contains(text, "hidden") {
		t.Error(text)
	}
}

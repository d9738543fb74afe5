package testkit

import (
	"os"
	"regexp"
	"testing"

	"sori.internal/shared/config"
)

// settingRow matches a row of a README's settings table: | `NAME` | default | meaning |
var settingRow = regexp.MustCompile("(?m)^\\| `([A-Z][A-Z0-9_]+)` \\| ([^|]*?) *\\|")

// CheckSettings checks that the settings table of a README has the same names and defaults as the
// struct of the settings. A required setting has the word "required" instead of a default.
func CheckSettings(t testing.TB, readme string, cfg any) {
	t.Helper()
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{}
	for _, row := range settingRow.FindAllStringSubmatch(string(text), -1) {
		told[row[1]] = row[2]
	}
	settings, err := config.Describe(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range settings {
		want := "`" + s.Default + "`"
		if s.Default == "" {
			want = ""
		}
		if s.Required {
			want = "required"
		}
		got, ok := told[s.Name]
		if !ok {
			t.Errorf("%s: %s is missing", readme, s.Name)
		} else if got != want {
			t.Errorf("%s: %s has the default %q, the code has %q", readme, s.Name, got, want)
		}
		delete(told, s.Name)
	}
	for name := range told {
		t.Errorf("%s: %s is no setting", readme, name)
	}
}

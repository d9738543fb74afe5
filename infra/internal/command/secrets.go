package command

import (
	"crypto/rand"
	"fmt"
	"regexp"
	"strings"

	"sori.internal/shared/config"
)

var (
	secretsSection = regexp.MustCompile(`(?ms)^# --- Secrets -+\n(.*?)^# --- `)
	emptyVariable  = regexp.MustCompile(`(?m)^([A-Z0-9_]+)=$`)
)

// FillSecrets sets the secrets that an environment file lacks to random values. It returns the new
// text of the file, and the names of these secrets. The secrets are the variables without a value in
// the section Secrets of the example. A secret with a sample value counts as absent.
func FillSecrets(example, file string) (filled string, made []string) {
	filled = file
	section := secretsSection.FindStringSubmatch(example)
	if section == nil {
		return filled, nil
	}
	for _, m := range emptyVariable.FindAllStringSubmatch(section[1], -1) {
		name := m[1]
		line := regexp.MustCompile(`(?m)^` + name + `=(.*)$`)
		present := line.FindStringSubmatch(filled)
		value := strings.Trim(strings.TrimSpace(strings.Join(present[min(1, len(present)):], "")), `'"`)
		if value != "" && !config.IsSample(value) {
			continue
		}
		made = append(made, name)
		if present != nil {
			filled = line.ReplaceAllString(filled, name+"="+newSecret())
			continue
		}
		filled = strings.TrimRight(filled, "\n") + fmt.Sprintf("\n%s=%s\n", name, newSecret())
	}
	return filled, made
}

// newSecret returns 260 random bits as letters and digits. NATS needs a letter at the beginning.
func newSecret() string { return "s" + rand.Text() + rand.Text() }

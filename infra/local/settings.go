package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/stack/proc"
)

// The default for CORS allows frontends in development: they run on this machine, at any port.
const (
	originsSetting = "CORS_ALLOWED_ORIGINS"
	ownOrigins     = "http://localhost:*,http://127.0.0.1:*,http://[::1]:*"
)

// lookup returns a function that finds a setting in the parameter own, else in the
// caller's environment, else among defaults for use in a terminal.
func lookup(own map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		if v, ok := own[name]; ok {
			return v, true
		}
		if v, ok := os.LookupEnv(name); ok {
			return v, true
		}
		switch name {
		case "LOG_LEVEL":
			return "warn", true
		case "LOG_FORMAT":
			return "console", true
		case originsSetting:
			return ownOrigins, true
		default:
			return "", false
		}
	}
}

const namespaceSetting = "NATS_NAMESPACE"

// withNamespace adds the namespace of the caller's environment to the settings of a program. A user
// of NATS belongs to a namespace.
func withNamespace(vars map[string]string) map[string]string {
	if ns, ok := lookup(nil)(namespaceSetting); ok && vars["NATS_URL"] != "" {
		vars[namespaceSetting] = ns
	}
	return vars
}

// replaceable returns the settings that harness.Environment sets to defaults for one machine, and that
// connect no programs with each other: the caller's environment may replace them.
func replaceable() []string { return []string{"FETCH_ALLOWED", "MAX_AUDIO_BYTES"} }

// withReplacements replaces settings of a program by those of the caller's environment.
func withReplacements(vars map[string]string, environment func(string) (string, bool)) map[string]string {
	for _, name := range replaceable() {
		if value, ok := environment(name); ok && vars[name] != "" {
			vars[name] = value
		}
	}
	return vars
}

// gatewayURL returns the base URL of the API, with the gateway's BASE_PATH if the
// environment contains it.
func gatewayURL(at harness.Layout) string {
	base, _ := lookup(nil)("BASE_PATH")
	return at.URL(harness.Gateway, 0) + strings.TrimSuffix(base, "/")
}

// keptSecrets returns the secrets of a state folder, which are generated once: a
// callback URL that was signed before a restart must still be valid after it.
func keptSecrets(dir string) (s harness.Secrets, err error) {
	if s.Webhook, err = keptSecret(dir, "webhook"); err != nil {
		return s, err
	}
	s.Principal, err = keptSecret(dir, "principal")
	return s, err
}

// keptSecret returns the named secret. It generates and saves the secret if the folder has none.
func keptSecret(dir, name string) (string, error) {
	return keptText(filepath.Join(dir, name+".secret"), func() string {
		var made [32]byte
		_, _ = rand.Read(made[:])
		return hex.EncodeToString(made[:])
	})
}

// keptText returns the text of a file that only its owner may read. If there is no such file, keptText
// makes the text and saves it.
func keptText(file string, made func() string) (string, error) {
	kept, err := os.ReadFile(file)
	if err == nil {
		return strings.TrimSpace(string(kept)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read a setting: %w", err)
	}
	text := made()
	return text, keepText(file, text)
}

// keepText saves a text in a file that only its owner may read.
func keepText(file, text string) error {
	if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
		return fmt.Errorf("keep a setting: %w", err)
	}
	return nil
}

// analyzerAddr returns the address of the analysis server in an earlier run with this state folder, or "" if there was
// none or its port is taken. The dispatcher stores for each status URL whether it has ever returned a status. If the
// address changed, the dispatcher could not interpret a 404 of the new status URL: the analysis may be lost in a killed run,
// or the URL may be wrong.
func analyzerAddr(dir string) string {
	kept, err := os.ReadFile(filepath.Join(dir, analyzerPort))
	if err != nil {
		return ""
	}
	port, err := strconv.Atoi(strings.TrimSpace(string(kept)))
	if err != nil || proc.PortTaken(port) {
		return ""
	}
	return proc.Address(port)
}

// analyzerPort is the file in a state folder with the port of the analysis server.
const analyzerPort = "analyzer.port"

// keepAnalyzerAddr saves the address for analyzerAddr.
func keepAnalyzerAddr(dir, addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("the analyzer's address: %w", err)
	}
	return keepText(filepath.Join(dir, analyzerPort), port)
}

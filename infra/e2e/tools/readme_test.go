//go:build tools

package tools_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
)

// exampleGateway is the address of the gateway in the examples of the READMEs.
const exampleGateway = "http://127.0.0.1:8000"

// example returns the match of a pattern in a document of the repository, with another gateway.
func example(t *testing.T, document, pattern, gateway string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../..", document))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(pattern).FindStringSubmatch(string(text))
	if found == nil || !strings.Contains(found[1], exampleGateway) {
		t.Fatalf("%s has no such example: %q", document, found)
	}
	return strings.ReplaceAll(found[1], exampleGateway, gateway)
}

func TestTheExamplesOfTheREADMEsUploadARecording(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{})
	for document, c := range map[string]struct{ pattern, file, want string }{
		"README.md":                   {"(?s)```sh\n(token=.*?)```", "recording.wav", `"status":"completed"`},
		"services/uploader/README.md": {"(?m)^    (curl .*Upload-Draft.*)$", "lesson.wav", "Sori-Job: "},
	} {
		t.Run(document, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, c.file), loadgen.Tone(220, time.Second), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(w.Context(), "bash", "-euc", example(t, document, c.pattern, w.Gateway))
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), c.want) {
				t.Errorf("%v: %s\n%s", err, cmd.Args[2], out)
			}
		})
	}
}

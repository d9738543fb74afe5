//go:build tools

package tools_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
)

// generator is the Go package of the client generator.
const generator = "github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2"

// document returns the OpenAPI document that the gateway serves.
func document(t *testing.T, w *harnesstest.Env) []byte {
	t.Helper()
	resp, err := w.Client.Get(w.Gateway + "/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v", resp.Status, err)
	}
	return text
}

func write(t *testing.T, file string, content []byte) {
	t.Helper()
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAClientMadeFromTheDocumentDoesTheMainJob(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{})
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/client")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "sori"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "openapi.json"), document(t, w))
	write(t, filepath.Join(dir, "recording.wav"), loadgen.Tone(220, time.Second))
	for _, step := range [][]string{
		{"run", generator, "-generate", "types,client,skip-prune", "-package", "sori", "-o", "sori/client.go", "openapi.json"},
		{"mod", "init", "client"}, {"mod", "tidy"}, {"vet", "./..."},
		{"test", ".", "-gateway", w.Gateway, "-token", strconv.FormatInt(w.Token, 10)},
	} {
		output(w.Context(), t, "go", append([]string{"-C", dir}, step...)...)
	}
}

// shell matches a shell example in a description.
var shell = regexp.MustCompile("(?s)```sh\n(.*?)```")

// examples returns the shell examples of all descriptions in a value.
func examples(value any) []string {
	var found []string
	switch v := value.(type) {
	case map[string]any:
		if text, ok := v["description"].(string); ok {
			for _, block := range shell.FindAllStringSubmatch(text, -1) {
				found = append(found, block[1])
			}
		}
		for _, member := range v {
			found = append(found, examples(member)...)
		}
	case []any:
		for _, member := range v {
			found = append(found, examples(member)...)
		}
	}
	return found
}

func TestTheExamplesRunAsTheyStand(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{})
	dir := t.TempDir()
	write(t, filepath.Join(dir, "recording.wav"), loadgen.Tone(220, time.Second))
	harnesstest.CheckFrames(t, w.Follow(w.Context(), t, w.Upload(t, "a.wav", loadgen.Tone(220, time.Second)), "ko"))
	var root any
	if err := json.Unmarshal(document(t, w), &root); err != nil {
		t.Fatal(err)
	}
	all := examples(root)
	if len(all) < 10 {
		t.Fatalf("only %d examples were found", len(all))
	}
	for _, block := range all {
		here := strings.ReplaceAll(block, "http://127.0.0.1:8000", w.Gateway)
		told := output(w.Context(), t, "bash", "-euo", "pipefail", "-c", "cd "+dir+"\n"+here)
		if strings.Contains(told, "urn:sori:problem") {
			t.Errorf("%s\nanswers %s", block, told)
		}
	}
}

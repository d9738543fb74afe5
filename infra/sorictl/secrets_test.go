package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// write runs the command in a folder, and returns the file that it writes and its output.
func write(t *testing.T, dir string) (file, shown string) {
	t.Helper()
	var out bytes.Buffer
	on := terminal{out: &out, errs: &out}
	path := filepath.Join(dir, ".env")
	if err := on.command(t.Context(), []string{"secrets", "-example", "../../.env.example", "-file", path}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	return string(text), out.String()
}

// value returns the value of a variable in a file.
func value(file, name string) string {
	_, rest, _ := strings.Cut("\n"+file, "\n"+name+"=")
	line, _, _ := strings.Cut(rest, "\n")
	return line
}

func TestSecretsAreMadeOnceAndNotPrinted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, shown := write(t, dir)
	seen := map[string]bool{}
	for _, name := range []string{"AWS_SECRET_ACCESS_KEY", "POSTGRES_PASSWORD", "NATS_GATEWAY_PASSWORD", "WEBHOOK_SECRET", "PRINCIPAL_SECRET"} {
		made := value(first, name)
		if len(made) < 32 || seen[made] || strings.Contains(shown, made) || !strings.Contains(shown, name) {
			t.Errorf("%s is %q; shown: %s", name, made, shown)
		}
		seen[made] = true
	}
	if value(first, "S3_BUCKET_NAME") != "sori" {
		t.Error("the other settings are not copied")
	}
	if again, shown := write(t, dir); again != first || !strings.Contains(shown, "has all secrets") {
		t.Errorf("the second run: %s", shown)
	}
}

func TestAFileFromBeforeGetsWhatItLacks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old := "AUTH_DISABLED=true\nWEBHOOK_SECRET='kept as it is'\nPRINCIPAL_SECRET=change-me-to-32-other-random-characters\nPOSTGRES_PASSWORD=change-me-too"
	if err := os.WriteFile(filepath.Join(dir, ".env"), []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	file, shown := write(t, dir)
	if value(file, "WEBHOOK_SECRET") != "'kept as it is'" || value(file, "AUTH_DISABLED") != "true" {
		t.Errorf("changed:\n%s", file)
	}
	for _, name := range []string{"PRINCIPAL_SECRET", "NATS_SORICTL_PASSWORD", "POSTGRES_PASSWORD"} {
		if made := value(file, name); len(made) < 32 || strings.Contains(made, "change-me") {
			t.Errorf("%s is %q", name, made)
		}
	}
	if !strings.Contains(shown, "an existing database keeps its old password") {
		t.Errorf("shown: %s", shown)
	}
}

func TestFilesThatCannotBeReadOrWrittenAreNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	folder := filepath.Join(dir, "folder")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	const example = "../../.env.example"
	for name, c := range map[string]struct{ example, file, named string }{
		"no example":           {filepath.Join(dir, "none"), filepath.Join(dir, ".env"), filepath.Join(dir, "none")},
		"a folder for a file":  {example, folder, folder},
		"a folder that is not": {example, filepath.Join(dir, "none", ".env"), filepath.Join(dir, "none", ".env")},
	} {
		var out bytes.Buffer
		on := terminal{out: &out, errs: &out}
		err := on.command(t.Context(), []string{"secrets", "-example", c.example, "-file", c.file})
		if err == nil || !strings.Contains(err.Error(), c.named) || out.Len() > 0 {
			t.Errorf("%s: %v, shown: %s", name, err, &out)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left: %v, %v", left, err)
	}
}

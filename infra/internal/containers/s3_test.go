package containers_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestTheStartOfS3GivesUploadsTheirNamesBack(t *testing.T) {
	t.Parallel()
	roots := []string{filepath.Join(t.TempDir(), "objects"), filepath.Join(t.TempDir(), "meta")}
	const uploads = "sori/.sgwtmp/multipart/0123"
	for _, root := range roots {
		for _, name := range []string{"one.89ab-2.inprogress", "two"} {
			if err := os.MkdirAll(filepath.Join(root, uploads, name, "1"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 2 { // the second call finds nothing to do
		cmd := exec.CommandContext(t.Context(), "sh", "../../s3/start.sh", "echo", "started", "with")
		cmd.Env = append(os.Environ(), "ROOTS="+roots[0]+" "+roots[1])
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != "started with\n" {
			t.Fatalf("%v: %s", err, out)
		}
	}
	for _, root := range roots {
		found, err := filepath.Glob(filepath.Join(root, uploads, "*", "1"))
		if err != nil || len(found) != 2 || filepath.Base(filepath.Dir(found[0])) != "one" || filepath.Base(filepath.Dir(found[1])) != "two" {
			t.Errorf("%q, %v", found, err)
		}
	}
}

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/stack"
)

const (
	suitePattern = "sori-test-"
	spareMemory  = 12 << 30    // bytes that must be free; the files of the tests take at most a third of it
	settling     = time.Minute // how long a run may take from the creation of its folder until it locks it
)

// suiteFolder creates the folder for the files of the tests. The folder is in memory if enough memory is free: the
// tests create and remove many thousands of files, which on a disk takes a fifth of their time.
func suiteFolder() (string, error) {
	if freeMemory() < spareMemory {
		return harness.TempDir("", suitePattern)
	}
	removeFormer(memoryFolder)
	return harness.TempDir(memoryFolder, suitePattern)
}

// removeFormer removes the folders of runs of this user that were killed. It leaves folders that are in
// use. It does not touch the folders of other users: a file in such a folder could name any other folder as
// that of its database cluster, which would be removed too.
func removeFormer(parent string) {
	former, _ := filepath.Glob(filepath.Join(parent, suitePattern+"*")) // the pattern is valid
	for _, dir := range former {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || time.Since(info.ModTime()) <= settling {
			continue
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) == os.Getuid() {
			_ = stack.Remove(dir) // an error is ignored: the folder is in use
		}
	}
}

// filesOf creates the folder in which the tests of a run create their temporary files and folders.
// Other users may traverse it, like its parent (harness.TempDir).
func filesOf(dir string) (string, error) {
	files := filepath.Join(dir, "files")
	if err := os.Mkdir(files, 0o711); err != nil {
		return "", fmt.Errorf("make a folder: %w", err)
	}
	return files, nil
}

package pg

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/rs/zerolog"

	"sori.internal/infra/internal/stack/proc"
)

const (
	folderName  = "postgres"
	dataName    = "data"
	pointerName = "postgres.location" // file in Dir with the path of the cluster, if the cluster is not below Dir
	lockName    = "lock"              // file in a fallback folder, to which two copies of one Dir may point
)

// place is the folder of a cluster and the user who owns it (nil: the current user).
type place struct {
	folder string
	user   *proc.User
}

func (p place) data() string { return filepath.Join(p.folder, dataName) }

// settle chooses the folder for the cluster of dir and creates it. It returns the lock of the fallback folder, or nil if the
// cluster is in dir.
func settle(dir, fallbackDir string, log zerolog.Logger) (place, *proc.Lock, error) {
	at := place{folder: filepath.Join(dir, folderName)}
	elsewhere, err := Location(dir)
	if err != nil {
		return at, nil, err
	}
	if elsewhere != "" {
		at.folder = elsewhere
	}
	if at.user, err = runUser(at.folder); err != nil {
		return at, nil, err
	}
	if elsewhere == "" && (at.user == nil || reachable(dir, at.user)) {
		return at, nil, at.make()
	}
	if elsewhere == "" {
		if at.folder, err = makeFallback(dir, fallbackDir, at.user); err != nil {
			return at, nil, err
		}
	}
	if err = createOwned(filepath.Dir(at.folder)); err != nil {
		return at, nil, err
	}
	lock, err := proc.AcquireLock(filepath.Join(filepath.Dir(at.folder), lockName))
	if err != nil {
		return at, nil, err
	}
	log.Warn().Str("dir", dir).Str("cluster", at.folder).
		Msg("postgres cannot reach the state folder as its own user, its data lives elsewhere")
	if err = at.make(); err != nil {
		_ = lock.Release()
		return at, nil, err
	}
	return at, lock, nil
}

func (p place) make() error {
	if err := os.MkdirAll(p.folder, 0o700); err != nil {
		return fmt.Errorf("create cluster folder: %w", err)
	}
	if p.user == nil {
		return nil
	}
	if err := os.Lchown(p.folder, int(p.user.UID), int(p.user.GID)); err != nil {
		return fmt.Errorf("hand over cluster folder: %w", err)
	}
	return nil
}

// runUser returns the user that the server runs as. A nil user means the current user. The user is nil unless this process
// runs as root. If it does, the server runs as the owner of an existing cluster. For a new cluster it runs as the user
// postgres or, if there is no such user, as nobody.
func runUser(folder string) (*proc.User, error) {
	info, err := os.Lstat(filepath.Join(folder, dataName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for the cluster (was it made by another user?): %w", err)
	}
	uid := os.Geteuid()
	if err == nil {
		st, ok := info.Sys().(*syscall.Stat_t)
		if ok && uid != 0 && int(st.Uid) != uid {
			return nil, fmt.Errorf("the cluster in %s belongs to user %d: start as that user or root, or remove it", folder, st.Uid)
		}
		if ok && uid == 0 && st.Uid != 0 {
			return &proc.User{Name: strconv.Itoa(int(st.Uid)), UID: st.Uid, GID: st.Gid}, nil
		}
	}
	if uid != 0 {
		return nil, nil
	}
	return serviceUser()
}

func serviceUser() (*proc.User, error) {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			continue
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			continue
		}
		return &proc.User{Name: name, UID: uint32(uid), GID: uint32(gid)}, nil
	}
	return nil, errors.New("postgres refuses to run as root, and there is neither a user postgres nor nobody")
}

// reachable reports whether the user may traverse the folder and all its parents. For a nil user, the current one, it returns
// true without a check.
func reachable(path string, u *proc.User) bool {
	if u == nil {
		return true
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false
	}
	for at := real; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if err != nil {
			return false
		}
		if !allowed(info, u, 1) {
			return false
		}
		if at == filepath.Dir(at) {
			return true
		}
	}
}

// allowed reports whether the mode of a file grants bit (4 read, 2 write, 1 execute or traverse) to the user. As the kernel
// does, it checks the bits of the owner, the group or the others, whichever applies first.
func allowed(info fs.FileInfo, u *proc.User, bit fs.FileMode) bool {
	shift := 0
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		switch {
		case st.Uid == u.UID:
			shift = 6
		case st.Gid == u.GID:
			shift = 3
		}
	}
	return info.Mode().Perm()>>shift&bit == bit
}

// makeFallback creates a folder for the cluster below fallbackDir, and writes its path to a file in dir.
func makeFallback(dir, fallbackDir string, u *proc.User) (string, error) {
	if _, err := os.Lstat(filepath.Join(dir, folderName, dataName)); err == nil {
		return "", fmt.Errorf("user %s can no longer reach its cluster in %s: open the folders above it (chmod o+x)", u.Name, dir)
	}
	if !reachable(fallbackDir, u) {
		return "", fmt.Errorf("user %s can reach neither %s nor %s: choose another state folder", u.Name, dir, fallbackDir)
	}
	sum := sha256.Sum256([]byte(dir))
	outer := filepath.Join(fallbackDir, "sori-"+hex.EncodeToString(sum[:6]))
	if err := createOwned(outer); err != nil {
		return "", err
	}
	folder := filepath.Join(outer, folderName)
	// No file in dir contains this path. So a cluster in this folder belongs to an earlier dir, which was deleted along with the
	// passwords.
	if err := os.RemoveAll(folder); err != nil {
		return "", fmt.Errorf("clear %s: %w", folder, err)
	}
	if err := os.WriteFile(filepath.Join(dir, pointerName), []byte(folder+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("remember cluster folder: %w", err)
	}
	return folder, nil
}

// createOwned creates a folder in a parent folder to which every user may write. If path exists, createOwned returns an error
// unless it is a folder that belongs to the current user and to which nobody else may write.
func createOwned(path string) error {
	err := os.Mkdir(path, 0o711)
	if err == nil {
		err = os.Chmod(path, 0o711) // regardless of the umask
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("create the fallback folder: %w", err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("create the fallback folder: %w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || !ok || int(st.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s was made by somebody else: remove it", path)
	}
	return nil
}

// Location returns the folder of dir's cluster if that is outside dir, else "".
func Location(dir string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, pointerName))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("find cluster folder: %w", err)
	}
	folder := strings.TrimSpace(string(text))
	if !filepath.IsAbs(folder) || filepath.Base(folder) != folderName {
		return "", fmt.Errorf("find cluster folder: %s names %q", pointerName, folder)
	}
	return folder, nil
}

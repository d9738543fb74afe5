package parts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
	"github.com/versity/versitygw/s3api"

	"sori.internal/infra/internal/stack"
	"sori.internal/infra/internal/stack/proc"
)

const (
	maxConnections = 4096
	maxRequests    = 2048
	maxParts       = 10_000  // the limit of AWS
	maxCopy        = 5 << 30 // the limit of AWS
	ioBuffer       = 256 << 10
)

// othersEnd is how long a start waits for the server of an earlier run, whose parent was killed, to end.
const othersEnd = 4 * time.Second

// runS3 is the role of an S3 server: it runs the server until ctx ends.
func runS3(ctx context.Context, config json.RawMessage, ready func()) error {
	var set stack.S3Settings
	if err := json.Unmarshal(config, &set); err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	limitMemory(set.MemoryLimit)
	data := filepath.Join(set.Dir, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return fmt.Errorf("create data folder: %w", err)
	}
	lock, err := proc.WaitForLock(ctx, filepath.Join(set.Dir, "lock"), othersEnd)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Release() }()
	accounts := filepath.Join(set.Dir, "accounts")
	if err := os.MkdirAll(accounts, 0o700); err != nil {
		return fmt.Errorf("create accounts folder: %w", err)
	}
	return serveS3(ctx, set, data, accounts, ready)
}

// serveS3 runs the gateway until ctx ends. It changes the working directory of the process.
func serveS3(ctx context.Context, set stack.S3Settings, data, accounts string, ready func()) error {
	sidecar, err := sidecarFolder(set.Dir, data)
	if err != nil {
		return err
	}
	var store meta.MetadataStorer = meta.XattrMeta{}
	if sidecar != "" {
		sc, err := meta.NewSideCar(sidecar)
		if err != nil {
			return fmt.Errorf("open metadata folder: %w", err)
		}
		store = sc
	}
	if err := releaseUploads(data, store); err != nil {
		return err
	}
	backend, err := posix.New(data, store, posix.PosixOpts{
		SideCarDir:          sidecar,
		CopyObjectThreshold: maxCopy,
		IOBufferSize:        ioBuffer,
		// Conditional writes need no lock files, since no other gateway uses the folder.
		ForceNoObjLockFile:  true,
		ValidateBucketNames: true,
	})
	if err != nil {
		return fmt.Errorf("open data folder: %w", err)
	}
	err = embedgw.RunVersityGW(ctx, backend, &embedgw.Config{
		RootUserAccess: set.AccessKey,
		RootUserSecret: set.SecretKey,
		IAMDir:         accounts, // folder for the accounts of further users
		// The keys of the cache are strings in the memory of requests, which the server uses again: a later
		// request changes them, and one user gets the rights of another.
		IAMCacheDisable:   true,
		Region:            set.Region,
		Ports:             []string{set.Address},
		MaxConnections:    maxConnections,
		MaxRequests:       maxRequests,
		MultipartMaxParts: maxParts,
		Quiet:             true,
		KeepAlive:         true,
		HealthPath:        stack.S3HealthPath,
		S3Options:         []s3api.Option{s3api.WithOnListen(ready), s3api.WithMiddleware("/", refuseCutBodies)},
	})
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// claimed is the end of the name of a multipart upload while the server joins its parts. It follows a point and a hash.
const claimed = ".inprogress"

// releaseUploads restores the names of the multipart uploads that a killed server was joining. The server renames an upload
// before it joins the parts, and back if it fails. Under the other name no server finds it again.
func releaseUploads(data string, store meta.MetadataStorer) error {
	found, err := fs.Glob(os.DirFS(data), path.Join("*", posix.MetaTmpMultipartDir, "*", "*"+claimed))
	if err != nil {
		return fmt.Errorf("find uploads that were being joined: %w", err)
	}
	for _, upload := range found {
		id, _, _ := strings.Cut(path.Base(upload), ".")
		released := path.Join(path.Dir(upload), id)
		bucket, object, _ := strings.Cut(upload, "/")
		err := os.Rename(filepath.Join(data, upload), filepath.Join(data, released))
		if err == nil {
			err = store.RenameObject(bucket, object, strings.TrimPrefix(released, bucket+"/"))
		}
		if err != nil {
			return fmt.Errorf("release an upload that was being joined: %w", err)
		}
	}
	return nil
}

// sidecarFolder returns the folder for metadata if the file system has no extended attributes, else "". A folder that exists
// from an earlier run is always used.
func sidecarFolder(dir, data string) (string, error) {
	path := filepath.Join(dir, "meta")
	_, err := os.Stat(path)
	if err == nil {
		return path, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("look for metadata folder: %w", err)
	}
	// The test writes an attribute, because some file systems allow reads of attributes but cannot store them.
	if (meta.XattrMeta{}).StoreAttribute(nil, data, "", "probe", []byte("1")) == nil {
		return "", nil
	}
	if err = os.MkdirAll(path, 0o700); err != nil {
		return "", fmt.Errorf("create metadata folder: %w", err)
	}
	return path, nil
}

package s3d

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
	"github.com/versity/versitygw/s3api"
)

const (
	maxConnections = 4096
	maxRequests    = 2048
	maxParts       = 10_000  // as AWS
	maxCopy        = 5 << 30 // as AWS
	ioBuffer       = 256 << 10
)

// serve runs the gateway until ctx ends. It changes the working directory of the process.
func serve(ctx context.Context, set settings, ready func()) error {
	var store meta.MetadataStorer = meta.XattrMeta{}
	if set.Sidecar != "" {
		sc, err := meta.NewSideCar(set.Sidecar)
		if err != nil {
			return fmt.Errorf("open metadata folder: %w", err)
		}
		store = sc
	}
	backend, err := posix.New(set.Data, store, posix.PosixOpts{
		SideCarDir:          set.Sidecar,
		CopyObjectThreshold: maxCopy,
		IOBufferSize:        ioBuffer,
		// One gateway owns the folder: no lock file has to tell another one about a conditional write.
		ForceNoObjLockFile:  true,
		ValidateBucketNames: true,
	})
	if err != nil {
		return fmt.Errorf("open data folder: %w", err)
	}
	err = embedgw.RunVersityGW(ctx, backend, &embedgw.Config{
		RootUserAccess:    set.AccessKey,
		RootUserSecret:    set.SecretKey,
		Region:            set.Region,
		Ports:             []string{set.Address},
		MaxConnections:    maxConnections,
		MaxRequests:       maxRequests,
		MultipartMaxParts: maxParts,
		Quiet:             true,
		KeepAlive:         true,
		HealthPath:        healthPath,
		S3Options:         []s3api.Option{s3api.WithOnListen(ready)},
	})
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}

	return nil
}

// sidecar returns the folder for metadata where the file system has no extended attributes, "" where it has. A folder
// that was once used stays in use.
func sidecar(dir, data string) (string, error) {
	path := filepath.Join(dir, "meta")
	_, err := os.Stat(path)
	if err == nil {
		return path, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("look for metadata folder: %w", err)
	}
	// Writing is the proof: some file systems answer a read of an attribute that they could not store.
	if (meta.XattrMeta{}).StoreAttribute(nil, data, "", "probe", []byte("1")) == nil {
		return "", nil
	}
	if err = os.MkdirAll(path, 0o700); err != nil {
		return "", fmt.Errorf("create metadata folder: %w", err)
	}

	return path, nil
}

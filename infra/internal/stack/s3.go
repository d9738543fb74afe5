package stack

import (
	"context"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/infra/internal/stack/proc"
)

// S3Role is the role (proc.StartPart) of the S3 server's process.
const S3Role = "s3"

// S3HealthPath is the path of the health check. It cannot be the path of a bucket, since "-" is no valid bucket name.
const S3HealthPath = "/-/health"

const s3StopGrace = 2 * time.Second // time for the requests in progress

// S3Settings is the configuration of the S3 server's process. It is passed through a pipe, because other users can read the
// arguments and the environment of a process.
type S3Settings struct {
	Dir                  string // an absolute path; contains the objects and, if the file system has no extended attributes, their metadata
	Address              string
	AccessKey, SecretKey string
	Region               string

	MemoryLimit int64 // see Options.MemoryLimit; 0 means none
}

// S3Server is a running S3 server over a folder.
//
// The server (versitygw with its posix backend) changes the working directory of its process and allows only one instance
// per process, so it always runs in a separate process. An object becomes visible atomically. The server does not flush to the
// disk before it responds: killing the server loses nothing, a power cut may lose objects.
type S3Server struct{ child }

// StartS3 starts an S3 server on the port and returns when the server responds.
func StartS3(ctx context.Context, port proc.Port, set S3Settings, log zerolog.Logger) (*S3Server, error) {
	srv := &S3Server{}
	err := proc.WithPort(ctx, port, func(port int) (err error) {
		set.Address, srv.port = proc.Address(port), port
		srv.Process, err = proc.StartPart(ctx, S3Role, set, log)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("start s3: %w", err)
	}
	if err := get(ctx, srv.Endpoint()+S3HealthPath, nil); err != nil { // one attempt is enough: the child has reported that it listens
		srv.Process.Stop(ctx)
		return nil, fmt.Errorf("start s3: ask for health: %w", err)
	}
	return srv, nil
}

// Endpoint returns the server's base URL.
func (s *S3Server) Endpoint() string { return "http://" + proc.Address(s.port) }

// Stop stops the server. A second call does nothing.
func (s *S3Server) Stop(ctx context.Context) error { return s.stop(ctx, s3StopGrace) }

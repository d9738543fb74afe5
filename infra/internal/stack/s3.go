package stack

import (
	"context"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/infra/internal/stack/proc"
)

// S3Role is the name of the part that the S3 server's process plays.
const S3Role = "s3"

// S3HealthPath cannot hide a bucket: no bucket is called "-".
const S3HealthPath = "/-/health"

const s3StopGrace = 2 * time.Second // for requests

// S3Settings is what the process of the S3 server needs to know. It travels through a pipe: arguments and environment can
// be read by others.
type S3Settings struct {
	Dir                  string // an absolute path; objects and, without extended attributes, their metadata live below it
	Address              string
	AccessKey, SecretKey string
	Region               string
}

// S3Server is a running S3 server over a folder.
//
// The server (versitygw with its posix backend) changes the working directory of its whole process and allows one
// instance in it, so it always runs in a process of its own. An object becomes visible at once and whole, and nothing is
// flushed to the disk before the answer: a killed server loses nothing, a power cut may.
type S3Server struct{ child }

// StartS3 starts an S3 server on the port and returns when it answers.
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
	if err := get(ctx, srv.Endpoint()+S3HealthPath, nil); err != nil { // once: the child has reported that it listens
		srv.Process.Stop(ctx)
		return nil, fmt.Errorf("start s3: ask for health: %w", err)
	}
	return srv, nil
}

// Endpoint is the server's base URL.
func (s *S3Server) Endpoint() string { return "http://" + proc.Address(s.port) }

// Stop ends the server; a second call finds nothing to do.
func (s *S3Server) Stop(ctx context.Context) error { return s.stop(ctx, s3StopGrace) }

package target

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/tus/tusd/v2/pkg/handler"
	"github.com/tus/tusd/v2/pkg/memorylocker"
	"github.com/tus/tusd/v2/pkg/s3store"
)

// tusdVariable is the environment variable with which StartTusd makes this program run tusd's server.
const tusdVariable = "SORI_BENCH_TUSD"

// RunTusd runs a tusd server, built from the packages of github.com/tus/tusd/v2, if StartTusd started this
// process. It then returns true, and the caller must exit with the code. In any other process it does
// nothing and returns false. A main must call it first.
//
// The server has the same handler, S3 store, lock and defaults as the original command tusd of that
// module, and accepts those flags of the original that StartTusd sets. The original command contains the
// clients of three cloud providers. As a dependency of this module it would add these clients to go.mod,
// and its installation by go install would need the network and take minutes.
func RunTusd() (ran bool, code int) {
	if os.Getenv(tusdVariable) == "" {
		return false, 0
	}
	if err := serveTusd(context.Background(), os.Args[1:]); err != nil { // the context of the whole process
		fmt.Fprintln(os.Stderr, "tusd:", err)
		return true, 1
	}
	return true, 0
}

// The defaults of the original command.
const (
	tusdPartSize      = 50 << 20
	tusdHeaderTimeout = 60 * time.Second
)

func serveTusd(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("tusd", flag.ContinueOnError)
	host := flags.String("host", "0.0.0.0", "address to listen on")
	port := flags.String("port", "8080", "port to listen on")
	bucket := flags.String("s3-bucket", "", "bucket of the uploads")
	endpoint := flags.String("s3-endpoint", "", "URL of the S3 server")
	partSize := flags.Int64("s3-part-size", tusdPartSize, "preferred size of a part in bytes")
	if err := flags.Parse(args); err != nil {
		return err //nolint:wrapcheck // the package flag has printed the error
	}
	credentials, err := config.LoadDefaultConfig(ctx) // AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION
	if err != nil {
		return fmt.Errorf("configure S3: %w", err)
	}
	store := s3store.New(*bucket, s3.NewFromConfig(credentials, func(o *s3.Options) {
		o.BaseEndpoint, o.UsePathStyle = endpoint, true
	}))
	store.PreferredPartSize = *partSize
	composer := handler.NewStoreComposer()
	store.UseIn(composer)
	memorylocker.New().UseIn(composer)
	uploads, err := handler.NewHandler(handler.Config{StoreComposer: composer, BasePath: TusdUploads})
	if err != nil {
		return fmt.Errorf("configure the handler: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle(TusdUploads, http.StripPrefix(TusdUploads, uploads))
	server := &http.Server{Addr: net.JoinHostPort(*host, *port), Handler: mux, ReadHeaderTimeout: tusdHeaderTimeout}
	return server.ListenAndServe() //nolint:wrapcheck // the error describes the operation already
}

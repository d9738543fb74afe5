package objects

import (
	"context"
	"net/http"
	"reflect"
	"slices"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/cors"
	"github.com/rs/zerolog"

	"sori.internal/shared/objectstore"
	"sori.internal/shared/origin"
)

// The ids of the CORS rules that the uploader sets.
const (
	readRule  = "sori-read"
	writeRule = "sori-write"
)

// preflightMaxAge is how long a browser may cache the answer to a preflight, in seconds.
const preflightMaxAge = 7200

// corsRules returns the CORS rules for pages of the allowed origins; none if the list is empty.
// Every origin may read: after the gateway's redirect to a recording, the browser sends Origin:
// null, which no list of origins matches. A page still needs a presigned URL to read an object.
func corsRules(allowed origin.List) []cors.Rule {
	if len(allowed) == 0 {
		return nil
	}
	return []cors.Rule{
		{
			ID: readRule, AllowedOrigin: []string{"*"}, AllowedMethod: []string{http.MethodGet, http.MethodHead}, AllowedHeader: []string{"*"},
			ExposeHeader:  []string{"Accept-Ranges", "Content-Disposition", "Content-Length", "Content-Range", "ETag"},
			MaxAgeSeconds: preflightMaxAge,
		},
		{
			ID: writeRule, AllowedOrigin: allowed.S3(), AllowedMethod: []string{http.MethodPut, http.MethodPost}, AllowedHeader: []string{"*"},
			ExposeHeader: []string{"ETag", "Location"}, MaxAgeSeconds: preflightMaxAge,
		},
	}
}

// AllowOrigins sets the uploader's CORS rules on the bucket, or removes them if no origin is
// allowed. It does not change other rules. If the S3 server does not support CORS rules, or the
// credentials do not suffice, it logs a warning and returns nil.
func (b *Bucket) AllowOrigins(ctx context.Context, allowed origin.List, log zerolog.Logger) error {
	current, err := b.client.GetBucketCors(ctx, b.name)
	if err != nil {
		return b.corsError(err, allowed, log)
	}
	var rules []cors.Rule
	if current != nil {
		rules = current.CORSRules
	}
	wanted := corsRules(allowed)
	own := func(r cors.Rule) bool { return r.ID == readRule || r.ID == writeRule }
	for _, r := range rules {
		if !own(r) {
			wanted = append(wanted, r)
		}
	}
	if slices.EqualFunc(rules, wanted, func(a, b cors.Rule) bool { return reflect.DeepEqual(a, b) }) {
		return nil
	}
	var config *cors.Config // nil removes all rules
	if len(wanted) > 0 {
		config = cors.NewConfig(wanted)
	}
	if err := b.client.SetBucketCors(ctx, b.name, config); err != nil {
		return b.corsError(err, allowed, log)
	}
	return nil
}

// corsError returns nil for an error that no retry can fix, after it has logged a warning. It
// returns any other error.
func (b *Bucket) corsError(err error, allowed origin.List, log zerolog.Logger) error {
	switch answer := minio.ToErrorResponse(err); answer.StatusCode {
	case http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusBadRequest:
		if len(allowed) > 0 {
			log.Warn().Err(err).Msg("the bucket's CORS rules cannot be set: pages of other origins cannot read recordings until they are set by hand (see the README)")
		}
		return nil
	default:
		return objectstore.Translate("set the CORS rules of bucket "+b.name, err)
	}
}

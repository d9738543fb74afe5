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

// The ids of the bucket's CORS rules that are ours.
const (
	readRule  = "sori-read"
	writeRule = "sori-write"
)

// corsAge is how long a browser may keep the answer to a preflight, in seconds.
const corsAge = 7200

// originRules are the rules for pages of other origins. A page that follows the
// gateway's redirect to a recording sends Origin: null, which no list of origins
// matches, so that reading is open to every page: what can be read is decided by
// the presigned URL.
func originRules(allowed origin.List) []cors.Rule {
	if len(allowed) == 0 {
		return nil
	}
	return []cors.Rule{
		{
			ID: readRule, AllowedOrigin: []string{"*"}, AllowedMethod: []string{http.MethodGet, http.MethodHead}, AllowedHeader: []string{"*"},
			ExposeHeader:  []string{"Accept-Ranges", "Content-Disposition", "Content-Length", "Content-Range", "ETag"},
			MaxAgeSeconds: corsAge,
		},
		{
			ID: writeRule, AllowedOrigin: allowed.S3(), AllowedMethod: []string{http.MethodPut, http.MethodPost}, AllowedHeader: []string{"*"},
			ExposeHeader: []string{"ETag"}, MaxAgeSeconds: corsAge,
		},
	}
}

// AllowOrigins gives the bucket the CORS rules for pages of listed origins, and
// takes them away where none is listed. Rules of others stay. A server that has no
// such rules, or keys that may not set them, are told to the log and stop nothing.
func (b *Bucket) AllowOrigins(ctx context.Context, allowed origin.List, log zerolog.Logger) error {
	given, err := b.client.GetBucketCors(ctx, b.name)
	if err != nil {
		return b.withoutRules(err, allowed, log)
	}
	var rules []cors.Rule
	if given != nil {
		rules = given.CORSRules
	}
	wanted := originRules(allowed)
	ours := func(r cors.Rule) bool { return r.ID == readRule || r.ID == writeRule }
	for _, r := range rules {
		if !ours(r) {
			wanted = append(wanted, r)
		}
	}
	if slices.EqualFunc(rules, wanted, func(a, b cors.Rule) bool { return reflect.DeepEqual(a, b) }) {
		return nil
	}
	var config *cors.Config // none removes them all
	if len(wanted) > 0 {
		config = cors.NewConfig(wanted)
	}
	if err := b.client.SetBucketCors(ctx, b.name, config); err != nil {
		return b.withoutRules(err, allowed, log)
	}
	return nil
}

// withoutRules goes on where the rules can never be set, and returns what another
// try may mend.
func (b *Bucket) withoutRules(err error, allowed origin.List, log zerolog.Logger) error {
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

package provision

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/signer"

	"sori.internal/shared/config"
	"sori.internal/shared/fault"
	"sori.internal/shared/objectstore"
)

// Identities has the access keys and the secret keys with which the services use S3. An identity
// without a secret key is not provisioned.
type Identities struct {
	Gateway    string `env:"GATEWAY_S3_ACCESS_KEY" envDefault:"sori-gateway"`
	Uploader   string `env:"UPLOADER_S3_ACCESS_KEY" envDefault:"sori-uploader"`
	Dispatcher string `env:"DISPATCHER_S3_ACCESS_KEY" envDefault:"sori-dispatcher"`
	Tracker    string `env:"TRACKER_S3_ACCESS_KEY" envDefault:"sori-tracker"`
	Operator   string `env:"SORICTL_S3_ACCESS_KEY" envDefault:"sori-sorictl"`

	GatewaySecret    config.Secret `env:"GATEWAY_S3_SECRET_KEY"`
	UploaderSecret   config.Secret `env:"UPLOADER_S3_SECRET_KEY"`
	DispatcherSecret config.Secret `env:"DISPATCHER_S3_SECRET_KEY"`
	TrackerSecret    config.Secret `env:"TRACKER_S3_SECRET_KEY"`
	OperatorSecret   config.Secret `env:"SORICTL_S3_SECRET_KEY"`
}

type identity struct {
	access string
	secret config.Secret
}

// list returns the identities that are provisioned.
func (i Identities) list() []identity {
	all := []identity{
		{i.Gateway, i.GatewaySecret}, {i.Uploader, i.UploaderSecret}, {i.Dispatcher, i.DispatcherSecret},
		{i.Tracker, i.TrackerSecret}, {i.Operator, i.OperatorSecret},
	}
	var used []identity
	for _, one := range all {
		if one.secret != "" {
			used = append(used, one)
		}
	}
	return used
}

// Empty reports whether no identity is provisioned.
func (i Identities) Empty() bool { return len(i.list()) == 0 }

// Policy is a bucket policy of S3.
type Policy struct {
	Version   string
	Statement []Statement
}

// Statement allows or denies actions.
type Statement struct {
	Sid       string
	Effect    string
	Principal map[string][]string
	Action    []string
	Resource  []string
}

// grant allows or denies actions to an identity. An identity without a secret is not provisioned.
type grant struct {
	sid, effect, principal string
	secret                 config.Secret
	resources              []string
	actions                []string
}

func policyOf(grants ...grant) Policy {
	p := Policy{Version: "2012-10-17"}
	for _, g := range grants {
		if g.secret != "" {
			p.Statement = append(p.Statement, Statement{
				Sid: g.sid, Effect: g.effect, Principal: map[string][]string{"AWS": {g.principal}}, Action: g.actions, Resource: g.resources,
			})
		}
	}
	return p
}

const arn = "arn:aws:s3:::" // begins the name of a bucket or an object in a policy

// BucketPolicy returns the policy of the bucket of recordings. Presigned URLs have the rights of the
// identity that signs them.
func BucketPolicy(bucket string, i Identities) Policy {
	all, audio := arn+bucket+"/*", arn+bucket+"/"+objectstore.Recordings+"*"
	return policyOf([]grant{
		{"GatewayReadsReferences", "Allow", i.Gateway, i.GatewaySecret, []string{all}, []string{"s3:GetObject"}},
		{"GatewayReadsNoRecording", "Deny", i.Gateway, i.GatewaySecret, []string{audio}, []string{"s3:GetObject"}},
		{"UploaderStoresRecordings", "Allow", i.Uploader, i.UploaderSecret, []string{audio}, []string{
			"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts",
		}},
		// versitygw (as of version 1.8) checks the right to store an object by a form at the bucket, not at the key.
		{"UploaderSignsForms", "Allow", i.Uploader, i.UploaderSecret, []string{audio, arn + bucket}, []string{"s3:PutObject"}},
		{"UploaderListsAndSetsCORS", "Allow", i.Uploader, i.UploaderSecret, []string{arn + bucket}, []string{
			"s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:GetBucketCORS", "s3:PutBucketCORS",
		}},
		{"DispatcherReads", "Allow", i.Dispatcher, i.DispatcherSecret, []string{all}, []string{"s3:GetObject"}},
		{"TrackerReadsRecordings", "Allow", i.Tracker, i.TrackerSecret, []string{audio}, []string{"s3:GetObject"}},
		{"OperatorLists", "Allow", i.Operator, i.OperatorSecret, []string{arn + bucket}, []string{"s3:ListBucket"}},
	}...)
}

// ReferencePolicy returns the policy of a bucket that contains only references.
func ReferencePolicy(bucket string, i Identities) Policy {
	all, read := []string{arn + bucket + "/*"}, []string{"s3:GetObject"}
	return policyOf(
		grant{"GatewayReadsReferences", "Allow", i.Gateway, i.GatewaySecret, all, read},
		grant{"DispatcherReadsReferences", "Allow", i.Dispatcher, i.DispatcherSecret, all, read},
	)
}

// S3 creates the bucket, the identities of the services and the policy of the bucket, or changes
// them. If references have a bucket of their own, it creates this bucket and its policy too; a policy
// that it has already is the operator's and is not changed. The keys in cfg are those of an
// administrator of a versitygw server. On other servers the operator creates the identities. It
// returns the names of the identities.
func S3(ctx context.Context, cfg objectstore.Config, i Identities) (names []string, err error) {
	client, err := objectstore.Open(cfg)
	if err != nil {
		return nil, err
	}
	if err := objectstore.EnsureBucket(ctx, client, cfg.Bucket, cfg.Region); err != nil {
		return nil, err
	}
	for _, one := range i.list() {
		if err := provisionIdentity(ctx, cfg, one); err != nil {
			return names, err
		}
		names = append(names, one.access)
	}
	if err := setPolicy(ctx, client, cfg.Bucket, BucketPolicy(cfg.Bucket, i)); err != nil {
		return names, err
	}
	references := cmp.Or(cfg.References, cfg.LegacyReferences, cfg.Bucket)
	if references == cfg.Bucket {
		return names, nil
	}
	return names, provisionReferences(ctx, client, cfg, references, i)
}

func provisionReferences(ctx context.Context, client *minio.Client, cfg objectstore.Config, bucket string, i Identities) error {
	if err := objectstore.EnsureBucket(ctx, client, bucket, cfg.Region); err != nil {
		return err
	}
	present, err := client.GetBucketPolicy(ctx, bucket)
	if err != nil {
		return objectstore.Translate("read the policy of bucket "+bucket, err)
	}
	policy := ReferencePolicy(bucket, i)
	if present != "" || len(policy.Statement) == 0 {
		return nil
	}
	return setPolicy(ctx, client, bucket, policy)
}

func setPolicy(ctx context.Context, client *minio.Client, bucket string, p Policy) error {
	text, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode the policy of bucket %s: %w", bucket, err)
	}
	return objectstore.Translate("set the policy of bucket "+bucket, client.SetBucketPolicy(ctx, bucket, string(text)))
}

// account is the body of a request to create or change a user of versitygw.
type account struct {
	XMLName xml.Name `xml:"Account"`
	Access  string   `xml:"Access,omitempty"`
	Secret  string   `xml:"Secret"`
	Role    string   `xml:"Role"` // always a role that may do what policies allow, and may not create buckets
}

func provisionIdentity(ctx context.Context, cfg objectstore.Config, one identity) error {
	status, err := admin(ctx, cfg, "/create-user", account{Access: one.access, Secret: one.secret.Reveal(), Role: "user"})
	if err == nil && status == http.StatusConflict {
		status, err = admin(ctx, cfg, "/update-user?access="+url.QueryEscape(one.access), account{Secret: one.secret.Reveal(), Role: "user"})
	}
	if err == nil && status >= http.StatusBadRequest {
		err = fmt.Errorf("the S3 server answers with status %d", status)
	}
	if err != nil {
		return fmt.Errorf("provision S3 identity %s: %w", one.access, err)
	}
	return nil
}

// admin sends a signed request to the admin API of versitygw and returns the status of the answer.
func admin(ctx context.Context, cfg objectstore.Config, path string, body account) (status int, err error) {
	text, err := xml.Marshal(body)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, cfg.Endpoint+path, bytes.NewReader(text))
	if err != nil {
		return 0, errors.New("S3_ENDPOINT is not a valid URL")
	}
	digest := sha256.Sum256(text)
	req.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(digest[:]))
	resp, err := http.DefaultClient.Do(signer.SignV4(*req, cfg.AccessKey, cfg.SecretKey.Reveal(), "", cfg.Region))
	if err != nil {
		return 0, fault.Unreachable("object storage", err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)) // the body contains no more than the status
	return resp.StatusCode, nil
}
